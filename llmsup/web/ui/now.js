// The machine's memory as one bar, and every model with what it does and why.

import { ask, of, post, why } from './api.js'
import { bytes, button, clock, colour, dot, h, keyed, nothing, number, say, seconds, sentence, set, ticking, when } from './dom.js'
import { explained, numbers, word } from './decision.js'
import { notices, stale } from './notices.js'
import { changed, kindOf, models, withoutPresets } from './models.js'
import { panel } from './peers.js'

export const title = 'Now'

const BUSY = 2000 // ms between looks while something goes on
const IDLE = 10_000 // … and while nothing does: events tell at once if that changes
const MOST = 60 // models that are listed without a filter

const parts = {}
const speeds = new Map() // tokens a second of each model's last answer
let timer = 0
let ticker = 0
let looking = false
let shut = false // the key is for models only
let again = false
let open = false

export function mount(root) {
  parts.memory = h('div', { class: 'panel memory' })
  parts.lead = h('p', { class: 'lead' })
  parts.bar = h('div', { class: 'bar', role: 'img' })
  parts.legend = h('ul', { class: 'legend', 'aria-label': 'What the bar shows' })
  parts.pressure = h('p', { class: 'why' })
  parts.memory.append(h('h2', {}, 'Memory'), parts.lead, parts.bar, parts.legend, parts.pressure)
  parts.loaded = h('ul', { class: 'cards' })
  parts.count = h('h2', { id: 'loaded' }, 'Loaded')
  parts.none = nothing('No model is loaded. The first request loads one, or the button beside it below.')
  parts.peers = panel()
  parts.others = h('ul', { class: 'cards few' })
  parts.filter = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter the models that are not loaded', oninput: draw })
  parts.rest = h('h2', {}, 'Not loaded')
  parts.more = nothing('')
  parts.decisions = h('ol', { class: 'decisions' })
  parts.noDecision = nothing('Nothing has been decided about memory yet.')
  parts.trouble = h('p', { class: 'trouble', role: 'alert', hidden: true })
  parts.all = h('div', { hidden: true }, parts.memory,
    parts.count, parts.none, parts.loaded, parts.peers,
    h('div', { class: 'head' }, parts.rest, parts.filter), parts.others, parts.more,
    h('h2', {}, 'Last decisions about memory'), parts.noDecision, parts.decisions)
  parts.notices = h('ul', { class: 'notices', 'aria-label': 'Notices', hidden: true })
  root.append(parts.trouble, parts.notices, parts.all)
}

export function show() {
  open = true
  ticker = setInterval(tick, 1000)
  look()
}

export function hide() {
  open = false
  clearTimeout(timer)
  clearInterval(ticker)
}

export function event(kind) {
  if (['model', 'bridge', 'back', 'config', 'peer'].includes(kind)) changed()
  if (['config', 'pause', 'back', 'bridge', 'peer'].includes(kind)) stale()
  clearTimeout(timer)
  timer = setTimeout(look, 150) // several come together
}

const told = { running: [], memory: null, models: [], peers: [] }

/** Ask how things are; never twice at a time. */
async function look() {
  clearTimeout(timer)
  if (!open) return
  if (looking) {
    again = true
    return
  }
  looking = true
  again = false
  try {
    const [running, memory, all, { peers }] = await Promise.all([ask('/running'), ask('/memory'), models(), ask('/peers')])
    Object.assign(told, { running, memory, models: withoutPresets(all).filter((each) => !each.peer), peers })
    await lookAtSpeeds(running)
    await notices(parts.notices, memory.paused, look)
    set(parts.trouble, { hidden: true })
    draw()
  } catch (error) {
    shut = error.status === 403
    say(parts.trouble, shut ? `${why(error)} Catalog and Try it are open to it.` : why(error))
    set(parts.trouble, { hidden: false })
  } finally {
    looking = false
    const busy = told.running.some((each) => each.in_flight || each.waiting || each.state !== 'ready') || told.peers.some((each) => each.in_flight)
    clearTimeout(timer)
    if (open && !shut) timer = setTimeout(look, again ? 150 : busy ? BUSY : IDLE)
  }
}

/** How fast each loaded model was, the last time. */
async function lookAtSpeeds(running) {
  if (!running.some((each) => each.last_used && speeds.get(each.model)?.at !== each.last_used)) return
  const { requests } = await ask('/requests?n=50')
  for (const each of running) {
    const last = requests.find((request) => request.model === each.model && request.tokens_per_s)
    speeds.set(each.model, { at: each.in_flight ? 0 : each.last_used, speed: last?.tokens_per_s ?? null })
  }
}

function draw() {
  if (!told.memory) return
  parts.all.hidden = false
  drawMemory(told.memory)
  const loaded = new Set(told.running.map((each) => each.model))
  keyed(parts.loaded, told.running.map((each) => ({ ...each, because: because(each.model) })), (each) => each.model, card)
  say(parts.count, `Loaded (${told.running.length})`)
  parts.none.hidden = told.running.length > 0
  parts.peers.draw(told.peers, Date.now() / 1000)
  const wanted = parts.filter.value.trim().toLowerCase()
  const rest = told.models.filter((each) => !loaded.has(each.id))
  const found = rest.filter((each) => [each.id, ...each.names].some((name) => name.toLowerCase().includes(wanted)))
  found.sort((one, other) => rank(one) - rank(other))
  say(parts.rest, `Not loaded (${rest.length})`)
  parts.filter.hidden = rest.length < 6
  keyed(parts.others, found.slice(0, MOST), (each) => each.id, row)
  say(parts.more, found.length > MOST ? `… and ${found.length - MOST} more: filter to see them.`
    : rest.length && !found.length ? 'None has that in its name.' : rest.length ? '' : told.models.length ? 'All models are loaded.' : told.peers.length ? 'There are none on this machine; the catalog has those of peers.' : 'There are no models. `llmsup demo` serves one to try.')
  parts.more.hidden = !parts.more.textContent
  const last = told.memory.decisions.slice(-6).reverse()
  keyed(parts.decisions, last, (each) => `${each.at} ${each.model} ${each.decision}`, decided)
  parts.noDecision.hidden = last.length > 0
  tick()
}

/** Why a loaded model was let in, and whether it could go. */
function because(name) {
  const loaded = told.memory.models.find((each) => each.model === name)
  if (!loaded) return ''
  const letIn = told.memory.decisions.findLast((each) => each.model === name && (each.decision === 'admit' || each.decision === 'evict'))
  const goes = loaded.stays ? `it stays: ${loaded.stays}` : `it can go if its memory is wanted, for ${seconds(loaded.loss_seconds)} of expected reload`
  return [letIn && `let in at ${clock(letIn.at)}: ${letIn.reason}`, goes].filter(Boolean).map((each) => sentence(each)).join(' ')
}

const rank = (model) => (model.status.value === 'failed' && model.status.servable !== false ? 0 : model.fits === false || model.status.servable === false ? 2 : 1)

/** What a model has of this machine's own memory: neither of a GPU's nor of an RPC worker's. */
const inRam = (loaded) => loaded.footprint_bytes - Object.values(loaded.devices ?? {}).reduce((sum, each) => sum + each, 0)

function drawMemory(memory) {
  const total = memory.readings?.total ?? memory.ceiling_bytes + memory.reserve_bytes
  const held = memory.models.reduce((sum, each) => sum + inRam(each), 0)
  const known = memory.available_bytes !== null
  const others = known ? Math.max(0, total - memory.available_bytes - held) : Math.max(0, total - memory.ceiling_bytes - memory.reserve_bytes)
  const whole = Math.max(total, held + others)
  let left = whole - held - others
  const take = (wanted) => { const size = Math.max(0, Math.min(wanted, left)); left -= size; return size }
  const reserve = take(memory.reserve_bytes)
  const kept = take(memory.kept_bytes)
  const pieces = [
    ['others', 'Everything else', others],
    ...memory.models.map((each) => [`m ${colour(each.model)}`, each.model, inRam(each), each.footprint_source]),
    ['kept', 'Promised to them, for cached prompts', kept],
    ['free', 'Free', left],
    ['reserve', 'Reserve', reserve]
  ].map(([kind, name, size, source]) => ({ kind, name, size, source }))
  keyed(parts.bar, pieces.filter((each) => each.size > 0), (each) => each.kind + each.name, (each) => {
    const piece = h('span', { class: each.kind, title: each.name })
    piece.update = ({ size, name }) => {
      piece.style.width = `${(100 * size / whole).toFixed(3)}%`
      set(piece, { title: `${name}: ${bytes(size)}` })
    }
    return piece
  })
  set(parts.bar, { 'aria-label': `Memory of this machine, ${bytes(whole)}: ${pieces.map((each) => `${each.name} ${bytes(each.size)}`).join(', ')}` })
  keyed(parts.legend, pieces.filter((each) => each.size > 0 || each.kind === 'free'), (each) => each.kind + each.name, (each) => {
    const size = h('b')
    const item = h('li', {}, h('span', { class: `dot ${each.kind}`, 'aria-hidden': 'true' }), h('span', { class: 'label' }, each.name), size)
    item.update = (now) => say(size, bytes(now.size))
    return item
  })
  const level = h('span', { class: `state ${memory.level}` }, `pressure ${memory.level}`)
  parts.lead.replaceChildren(
    h('b', {}, bytes(memory.committed_bytes)), ` of ${bytes(memory.ceiling_bytes)} that models may have`,
    h('span', { class: 'soft' }, known ? ` · ${bytes(memory.available_bytes)} of ${bytes(total)} available ` : ' '), level)
  const gpus = (memory.devices ?? []).map((device) =>
    `${device.name} (${device.pool}): ${device.free_bytes === null ? '' : `${bytes(device.free_bytes)} of ${bytes(device.total_bytes)} free, `}` +
    `models have ${bytes(device.committed_bytes)}${device.free_bytes === null ? ` of ${bytes(device.total_bytes)}` : ''}${device.level === 'normal' ? '' : `; it is short: ${device.reason}`}`)
  const words = [memory.reason, memory.nothing_unloaded && `nothing is unloaded for it: ${memory.nothing_unloaded}`, memory.problem, ...gpus]
    .filter(Boolean).map((each) => sentence(each)).join(' ')
  say(parts.pressure, words)
  parts.pressure.hidden = !words
}

/** A model's actions and what they have to say, below it. */
function actions(name, panel) {
  const close = () => { panel.replaceChildren(); panel.hidden = true }
  const tell = (...children) => { panel.replaceChildren(...children); panel.hidden = false }
  const act = async (doing, path, body) => {
    tell(h('p', { role: 'status' }, doing))
    try {
      await post(path, { model: name, ...body })
      close()
    } catch (error) {
      tell(h('p', { class: 'trouble', role: 'alert' }, why(error)), h('p', { class: 'acts' }, button('Close', close)))
    }
    changed()
    look()
  }
  return {
    close,
    tell,
    load: () => act('It is loading…', '/models/load', { wait: false }),
    unload: (force) => act(force ? 'It is being unloaded; its requests are cut off…' : 'It is being unloaded…', '/models/unload', { force }),
    pin: (pinned) => act(pinned ? 'It is being pinned…' : 'It is being released…', '/models/load', { wait: false, pinned }),
    /** Load it, but say first what would have to go. */
    async offer(starter) {
      tell(h('p', { role: 'status' }, 'Looking whether it fits…'))
      let would
      try {
        would = await post('/models/load?dry_run=1', { model: name })
      } catch (error) {
        tell(h('p', { class: 'trouble', role: 'alert' }, why(error)), h('p', { class: 'acts' }, button('Close', close)))
        return
      }
      if (would.would === undefined || would.would === 'already_loaded') {
        close()
        return look()
      }
      if (would.would === 'load' && !would.victims.length) return this.load()
      const never = would.would === 'never_fits'
      const yes = button(would.victims.length ? 'Load it, and unload these' : 'Load it all the same', () => this.load(), { class: 'main' })
      const no = button(never ? 'Close' : 'Leave it', () => { close(); starter.focus() })
      tell(
        h('p', {}, would.sentence),
        would.victims.length > 0 && h('ul', { class: 'victims' }, would.victims.map((each) =>
          h('li', {}, dot(each.model), h('b', {}, each.model), ` frees ${bytes(each.frees)}`, each.reason ? `: ${each.reason}` : ''))),
        would.decision && h('details', {}, h('summary', {}, 'The numbers'), numbers(would.decision)),
        h('p', { class: 'acts' }, !never && yes, no))
      ;(never ? no : yes).focus()
    },
    /** Unload it; where that would cut somebody short, ask how. */
    part(entry, starter) {
      const count = entry.in_flight + entry.waiting
      if (!count) return this.unload(false)
      const first = button('When they are done', () => this.unload(false), { class: 'main' })
      tell(h('p', {}, `${count === 1 ? '1 request is' : `${count} requests are`} in flight or waiting.`),
        h('p', { class: 'acts' }, first, button('Cut them off now', () => this.unload(true), { class: 'danger' }),
          button('Leave it', () => { close(); starter.focus() })))
      first.focus()
    },
    async explain() {
      try {
        tell(...explained(await ask(of('/memory', name))), h('p', { class: 'acts' }, button('Close', close)))
      } catch (error) {
        tell(h('p', { class: 'trouble', role: 'alert' }, why(error)))
      }
    }
  }
}

/** A toggle for what lies below a model. */
function disclosure(panel, does) {
  const toggle = button('Why', () => {
    if (panel.hidden || !panel.explains) { panel.explains = true; does.explain() } else does.close()
  }, { 'aria-label': 'Why, in full' })
  new MutationObserver(() => {
    if (panel.hidden) panel.explains = false
    set(toggle, { 'aria-expanded': String(!panel.hidden && Boolean(panel.explains)) })
  }).observe(panel, { attributes: true, childList: true })
  set(toggle, { 'aria-expanded': 'false' })
  return toggle
}

function fact(name) {
  const value = h('dd')
  return [h('div', {}, h('dt', {}, name), value), value]
}

/** A model that has an engine, or is getting one. */
function card({ model: name }) {
  const state = h('span', { class: 'state' })
  const flags = h('span', { class: 'flags' })
  const [flight, flightValue] = fact('In flight')
  const [speed, speedValue] = fact('Tokens/s')
  const [ttl, ttlValue] = fact('TTL left')
  const [memory, memoryValue] = fact('Memory')
  const [size, source] = [h('span'), h('span', { class: 'soft' })]
  memoryValue.append(size, source)
  const progress = h('progress', { max: '1', hidden: true, 'aria-label': `${name} is loaded so far` })
  const reason = h('p', { class: 'why' })
  const panel = h('div', { class: 'below', hidden: true })
  const does = actions(name, panel)
  let entry = {}
  const unload = button('Unload', () => does.part(entry, unload))
  const pin = button('Pin', () => does.pin(!entry.pinned), { class: 'pin' })
  const node = h('li', { class: 'card' },
    h('div', { class: 'top' }, h('h3', {}, dot(name), h('span', {}, name)), state, flags),
    h('dl', { class: 'facts' }, flight, speed, ttl, memory),
    h('div', { class: 'acts' }, unload, pin, disclosure(panel, does)),
    progress, reason, panel)
  node.update = (now) => {
    entry = now
    const waits = now.state === 'starting' && now.waits_for
    const word = waits ? 'waits' : now.state === 'starting' ? 'loading' : now.in_flight && now.state === 'ready' ? 'busy' : now.state
    say(state, now.progress !== null && word === 'loading' ? `loading ${Math.round(100 * now.progress)} %` : word)
    state.className = `state ${word}`
    say(flags, [now.priority !== 'normal' && `${now.priority} priority`, now.pinned && 'pinned', now.restarts && `${now.restarts} crash${now.restarts > 1 ? 'es' : ''}`].filter(Boolean).join(' · '))
    say(flightValue, now.waiting ? `${now.in_flight} (+${now.waiting} waiting)` : String(now.in_flight))
    const last = speeds.get(name)
    say(speedValue, last?.speed ? number(last.speed, 1) : '–')
    say(size, bytes(now.footprint_bytes))
    say(source, now.footprint_source ? ` ${now.footprint_source}` : '')
    progress.hidden = word !== 'loading' || now.progress === null
    if (!progress.hidden) progress.value = now.progress
    say(reason, [sentence(waits ? `it waits for memory: ${now.waits_for}` : now.reason, name), !waits && now.because].filter(Boolean).join(' '))
    set(pin, { 'aria-pressed': String(now.pinned) })
    say(pin, now.pinned ? 'Unpin' : 'Pin')
    node.tick()
  }
  node.tick = () => {
    const left = entry.expires_at
    say(ttlValue, left !== null && left !== undefined ? ticking(left - Date.now() / 1000) : entry.pinned || entry.ttl === null ? 'never' : entry.in_flight ? 'in use' : '–')
  }
  return node
}

/** A model that isn't loaded. */
function row({ id: name }) {
  const about = h('span', { class: 'soft' })
  const state = h('span', { class: 'state' })
  const reason = h('p', { class: 'why' })
  const panel = h('div', { class: 'below', hidden: true })
  const does = actions(name, panel)
  const load = button('Load', () => does.offer(load), { 'aria-label': `Load ${name}` })
  const node = h('li', { class: 'card' },
    h('div', { class: 'top' }, h('h3', {}, h('span', {}, name)), state, about),
    h('div', { class: 'acts' }, load, disclosure(panel, does)),
    reason, panel)
  node.update = (model) => {
    const { status } = model
    const never = status.servable === false || Boolean(status.no_engine) || model.fits === false
    const word = status.value === 'failed' ? 'failed' : model.fits === false ? 'too large' : status.no_engine ? 'no engine' : ''
    say(state, word)
    state.className = `state ${status.value === 'failed' ? 'failed' : word ? 'warn' : ''}`
    state.hidden = !word
    say(about, [kindOf(model), model.quantization, model.needs_bytes !== null && `needs ${bytes(model.needs_bytes)}`].filter(Boolean).join(' · '))
    const retry = status.retry_in >= 1 ? `requests retry it in ${seconds(Math.round(status.retry_in))}` : ''
    say(reason, [status.no_engine ?? sentence(status.error ?? status.reason, name), retry && sentence(retry)].filter(Boolean).join(' '))
    set(load, { disabled: never && model.fits !== false })
  }
  return node
}

function decided(decision) {
  return h('li', {}, h('details', {},
    h('summary', {}, when(decision.at), h('span', { class: `state ${decision.decision}` }, word(decision)), h('span', {}, decision.model ? h('b', {}, decision.model, ' ') : '', sentence(decision.reason))),
    numbers(decision)))
}

/** What runs down is counted here, so that nobody has to be asked. */
function tick() {
  for (const node of parts.loaded.children) node.tick()
}
