// A decision about memory with its numbers, as `llmsup why` tells it.

import { bytes, h, scroll, seconds, table } from './dom.js'

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
