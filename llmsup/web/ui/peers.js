// The other servers whose models are served here: how each fares, and what it has loaded.

import { bytes, clock, h, keyed, say, seconds, sentence } from './dom.js'

const STATES = { up: 'ready', down: 'failed', waking: 'warn' } // the others have no colour

/** A heading and a card for each; nothing where there are none. */
export function panel() {
  const head = h('h2', {}, 'Peers')
  const list = h('ul', { class: 'peers' })
  const whole = h('div', { hidden: true }, head, list)
  whole.draw = (peers, at) => {
    whole.hidden = !peers.length
    say(head, `Peers (${peers.length})`)
    keyed(list, peers.map((each) => ({ ...each, at })), (each) => each.name, card)
  }
  return whole
}

/** Where a model is, in words: "studio, box (down)". `mine`: what this machine's own are called. */
export function where(model, mine) {
  return [...(model.peer ? [] : [mine]), ...places(model)].join(', ')
}

/** The peers that have a model, in words, and which of them don't answer. */
export function places(model) {
  const { peers = model.peers ?? [], down = model.peers_down ?? [] } = model.peer ?? {}
  return peers.map((name) => (down.includes(name) ? `${name} (down)` : name))
}

function fact(name) {
  const value = h('dd')
  return [h('div', {}, h('dt', {}, name), value), value]
}

function card({ name }) {
  const state = h('span', { class: 'state' })
  const about = h('span', { class: 'soft' })
  const [models, modelsValue] = fact('Models')
  const [flight, flightValue] = fact('In flight')
  const [latency, latencyValue] = fact('Latency')
  const [memory, memoryValue] = fact('Memory')
  const reason = h('p', { class: 'why' })
  const node = h('li', { class: 'card' },
    h('div', { class: 'top' }, h('h3', {}, name), state, about),
    h('dl', { class: 'facts' }, models, flight, latency, memory), reason)
  node.update = (peer) => {
    const { used_bytes: used = null, ceiling_bytes: ceiling = null } = peer.memory ?? {}
    say(state, peer.state)
    state.className = `state ${STATES[peer.state] ?? ''}`
    say(about, [[peer.kind, peer.version].filter(Boolean).join(' '), peer.url].filter(Boolean).join(' · '))
    say(modelsValue, String(peer.models.length))
    say(flightValue, String(peer.in_flight))
    say(latencyValue, seconds(peer.latency_seconds))
    say(memoryValue, used === null ? '–' : ceiling === null ? bytes(used) : `${bytes(used)} of ${bytes(ceiling)}`)
    say(reason, words(peer))
    reason.hidden = !reason.textContent
  }
  return node
}

/** Of one that is up, what it has loaded, and what it doesn't tell; of another, why, and when it is asked again. */
function words(peer) {
  if (peer.state !== 'up') {
    const again = peer.next_probe_in === null ? '' : ` It is asked again at ${clock(peer.at + peer.next_probe_in)}.`
    return sentence(peer.reason) + again
  }
  const busy = (each) => (each.in_flight ? ` (${each.in_flight} in flight)` : '')
  // What a server behind it has is in another memory.
  const loaded = peer.models.filter((each) => !each.hops && (each.loaded || each.in_flight)).map((each) => each.name + busy(each))
  const loading = peer.models.filter((each) => each.loading && !each.loaded).map((each) => each.name)
  return [
    loaded.length && `Loaded there: ${loaded.join(', ')}.`,
    loading.length && `Loading: ${loading.join(', ')}.`,
    peer.note && sentence(peer.note)
  ].filter(Boolean).join(' ')
}
