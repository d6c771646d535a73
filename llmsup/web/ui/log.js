// What llmsup and its engines write, as they write it.

import { of, pieces, send, why } from './api.js'
import { button, h, say, set } from './dom.js'
import { choices, models, withoutPresets } from './models.js'

export const title = 'Log'

const MOST = 3000 // lines that are kept here

const parts = {}
let lines = []
let fresh = []
let held = false
let stop = null
let drawing = 0

export function mount(root) {
  parts.model = h('select', { 'aria-label': 'Whose lines', onchange: begin })
  parts.filter = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Show only lines with this', oninput: redraw })
  parts.hold = button('Hold', () => { held = !held; set(parts.hold, { 'aria-pressed': String(held) }); if (!held) redraw() }, { 'aria-pressed': 'false' })
  parts.sum = h('p', { class: 'soft' })
  parts.log = h('pre', { class: 'log', tabindex: '0', role: 'log', 'aria-label': 'Lines of the log', 'aria-live': 'off' })
  root.append(h('div', { class: 'head' }, parts.model, parts.filter, parts.hold, parts.sum), parts.log)
  choices(parts.model, [], 'llmsup and all models')
}

export function show() {
  begin()
  models().then((all) => choices(parts.model, withoutPresets(all).filter((each) => !each.peer).map((each) => each.id), 'llmsup and all models')).catch(() => {})
}

export function hide() {
  stop?.abort()
}

/** Follow one log until another is chosen, or the page isn't seen; its last lines come first. */
async function begin() {
  stop?.abort()
  stop = new AbortController()
  const { signal } = stop
  const name = parts.model.value
  while (!signal.aborted) {
    lines = []
    fresh = []
    let rest = ''
    redraw()
    try {
      const response = await send(name ? of('/logs/stream', name) : '/logs/stream', { signal })
      for await (const piece of pieces(response)) {
        const all = (rest + piece).split('\n')
        rest = all.pop()
        fresh.push(...all)
        drawing ||= requestAnimationFrame(add)
      }
    } catch (error) {
      if (signal.aborted) return
      say(parts.sum, why(error))
      if (error.status) return
    }
    await new Promise((done) => setTimeout(done, 2000))
  }
}

const matches = (line) => line.toLowerCase().includes(parts.filter.value.trim().toLowerCase())

function element(line) {
  const kind = /\b(ERROR|error:|CRITICAL)\b/.test(line) ? 'bad' : /\bWARN(ING)?\b/.test(line) ? 'warn' : null
  return h('span', { class: kind }, `${line}\n`)
}

/** Put new lines below, and stay at the end if that was in sight. */
function add() {
  drawing = 0
  const new_ = fresh
  fresh = []
  lines.push(...new_)
  lines = lines.slice(-MOST)
  if (held) return count()
  const { log } = parts
  const end = log.scrollHeight - log.scrollTop - log.clientHeight < 40
  log.append(...new_.filter(matches).map(element))
  while (log.childElementCount > MOST) log.firstChild.remove()
  if (end) log.scrollTop = log.scrollHeight
  count()
}

function redraw() {
  parts.log.replaceChildren(...lines.filter(matches).map(element))
  parts.log.scrollTop = parts.log.scrollHeight
  count()
}

function count() {
  say(parts.sum, held ? `held; ${lines.length} lines are here` : `${parts.log.childElementCount} of ${lines.length} lines`)
}
