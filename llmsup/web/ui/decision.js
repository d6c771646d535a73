// Why a model is as it is, and where its requests go: decisions with their numbers, as `llmsup why` tells them.

import { bytes, h, scroll, seconds, sentence, table, when } from './dom.js'

const WORDS = { admit: 'let in', evict: 'let in for others', wait: 'waits', refuse: 'refused', leave: 'nobody goes' }

export const word = (decision) => WORDS[decision.decision] ?? decision.decision

/** What it was made from. */
export function numbers(decision) {
  const facts = [
    ['Needed', bytes(decision.bytes)],
    ['Free for it', bytes(decision.room_bytes)],
    ['Missing', decision.missing_bytes ? bytes(decision.missing_bytes) : null],
    ['Ceiling', bytes(decision.ceiling_bytes)],
    ['Available', bytes(decision.available_bytes)],
    ['Pressure', decision.level],
    ['Gave back', decision.freed_bytes ? `${bytes(decision.freed_bytes)} in ${seconds(decision.seconds)}` : null]
  ].filter(([, value]) => value !== null && value !== undefined)
  const rows = (decision.weighed ?? []).map((each) => [
    each.model,
    bytes(each.footprint_bytes),
    seconds(each.loss_seconds),
    decision.victims?.includes(each.model) ? 'unloaded' : each.stays ? `stays: ${each.stays}` : 'stays: not needed'
  ])
  return h('div', { class: 'numbers' },
    h('dl', { class: 'facts' }, facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))),
    rows.length > 0 && scroll('Models that were weighed', table(
      'The models that were weighed, the least worth keeping first',
      [['Model', 'prose'], ['Memory', 'right'], ['A reload costs', 'right'], ['What became of it', 'prose']], rows
    ))
  )
}

/** Everything behind a model's state, from `/memory/NAME`. */
export function explained(told) {
  const lines = [
    !told.here && told.reason,
    told.waits_for && `it waits for memory: ${told.waits_for}`,
    told.loaded && `unloading it would free ${bytes(told.loaded.freeable_bytes)}`,
    told.loaded && (told.loaded.stays ? `it can’t be unloaded now: ${told.loaded.stays}` : `it could be unloaded now; that would cost ${seconds(told.loaded.loss_seconds)} of expected reload`),
    told.load && `its last load took ${seconds(told.load_seconds)}, ${bytes(told.load.bytes_per_second)}/s${told.load.why ? `: ${told.load.why}` : ''}`,
    told.next_load.cached_share !== null && `loading it again should take ${seconds(told.next_load.seconds)}: ${Math.round(100 * told.next_load.cached_share)} % of its file is in the page cache`,
    told.failure
  ].filter(Boolean)
  const past = told.history.slice(-10).reverse()
  return [
    lines.length > 0 && h('ul', { class: 'lines' }, lines.map((line) => h('li', {}, sentence(line)))),
    ...whereTo(told),
    past.length > 0 && h('ol', { class: 'decisions' }, past.map((each) => decided(each.at, each.what, sentence(each.reason, told.model), each.decision && numbers(each.decision)))),
    told.cmd && h('details', {}, h('summary', {}, 'Command line'), h('pre', {}, told.cmd))
  ].filter(Boolean)
}

/** One decision of a list, with what it was made from below it. */
function decided(at, what, why, below) {
  const words = [when(at), h('span', { class: 'state' }, what), h('span', {}, why)]
  return below ? h('li', {}, h('details', {}, h('summary', {}, words), below)) : h('li', { class: 'plain' }, words)
}

const place = (each) => each.peer ?? 'here'

/** The servers that have a model, and why each of its last requests went where it did; nothing if it is only here. */
function whereTo({ backends, routes }) {
  if (!backends.length) return []
  const rows = backends.map((each) => [
    place(each), String(each.requests), each.now ? now(each.now) : (each.reason ?? '–').replace(`${each.peer} has been `, ''),
    each.reasons.slice(0, 2).map((known) => known.reason).join('; ') || '–'
  ])
  const last = routes.slice(-10).reverse()
  return [
    scroll('Where its requests go', table(
      'The servers that have it', [['Server', ''], ['Requests', 'right'], ['Now', 'prose'], ['Why they went there', 'prose']], rows
    )),
    last.length > 0 && h('ol', { class: 'decisions' }, last.map((each) => decided(each.at, place(each), sentence(each.reason), weighed(each.weighed))))
  ].filter(Boolean)
}

function weighed(servers) {
  const rows = servers.map((each) => [place(each), now(each), each.latency_seconds ? seconds(each.latency_seconds) : '–', each.remembers ? `${each.remembers} tokens` : '–'])
  return h('div', { class: 'numbers' }, scroll('Servers that came into question', table(
    'The servers that came into question, the best first', [['Server', ''], ['It was', 'prose'], ['Latency', 'right'], ['Has of the prompt', 'right']], rows
  )))
}

/** What is known of a model at a server, in words. */
function now({ asleep, loaded, loading, busy, slots, fits, load_seconds: takes }) {
  const time = takes === null ? '' : `, which takes ${seconds(takes)}`
  const room = fits === false ? ', and another model has to go for it' : ''
  const has = busy ? `${busy}${slots ? ` of ${slots}` : ''} at work` : 'idle'
  return [asleep && 'its machine sleeps', loaded ? `loaded, ${has}` : loading ? `being loaded${time}` : `to be loaded${time}${room}`].filter(Boolean).join('; ')
}
