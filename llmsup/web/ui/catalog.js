// What there is on the disk, whether it fits, and what was left out.

import { ask, of, why } from './api.js'
import { explained } from './decision.js'
import { bytes, button, h, nothing, number, say, scroll, sentence, set } from './dom.js'
import { changed, kindOf, models, withoutPresets } from './models.js'
import { places, where } from './peers.js'

export const title = 'Catalog'

const COLUMNS = [
  ['Model', 'name', (each) => each.id.toLowerCase()],
  ['Kind', 'wide', kindOf],
  ['Quant', 'wide', (each) => each.quantization ?? ''],
  ['Context', 'right wide', (each) => each.context_length ?? 0],
  ['Size', 'right', (each) => each.size_bytes ?? 0],
  ['Needs', 'right', (each) => each.needs_bytes ?? 0],
  ['Fits', '', (each) => String(each.fits)],
  ['Found in', 'wide', (each) => where(each, each.source ?? '')]
]

const parts = {}
const opened = new Map() // what is shown below models' rows, by their names
let told = []
let by = 0
let down = false

export function mount(root) {
  parts.filter = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter the catalog', oninput: draw })
  parts.sum = h('p', { class: 'soft', role: 'status' })
  parts.note = nothing('')
  parts.body = h('tbody')
  parts.heads = COLUMNS.map(([name, kind], at) => h('th', { scope: 'col', class: kind }, h('button', { type: 'button', onclick: () => sort(at) }, name)))
  parts.table = scroll('The catalog', h('table', { class: 'catalog' }, h('caption', { class: 'hidden' }, 'All models'), h('thead', {}, h('tr', {}, parts.heads)), parts.body))
  parts.left = h('h2', {}, 'Left out')
  parts.out = h('ul', { class: 'lines' })
  root.append(h('div', { class: 'head' }, parts.filter, parts.sum), parts.note, parts.table, parts.left, parts.out)
}

export async function show() {
  try {
    const [all, found] = await Promise.all([models(), ask('/catalog').catch(unlessShut)])
    told = withoutPresets(all)
    set(parts.table, { hidden: !told.length })
    say(parts.sum, `${told.length} models${found.complete ? '' : `; ${found.read} of ${found.of} files have been read so far`}`)
    say(parts.note, told.length ? '' : 'There are no models. `llmsup demo` serves one to try.')
    parts.out.replaceChildren(...found.left_out.map((each) => h('li', {}, h('code', {}, each.path), h('span', {}, ` ${sentence(each.reason)}`))))
    say(parts.left, `Left out (${found.left_out.length})`)
    parts.left.hidden = !found.left_out.length
    draw()
  } catch (error) {
    say(parts.note, why(error))
  }
  parts.note.hidden = !parts.note.textContent
}

export function hide() {}

export function event(kind) {
  if (kind === 'peer') changed()
  if (['bridge', 'back', 'peer'].includes(kind)) show()
}

/** A key for models only sees those, and not what was left out. */
function unlessShut(error) {
  if (error.status !== 403) throw error
  return { left_out: [], complete: true }
}

function sort(at) {
  down = by === at ? !down : false
  by = at
  draw()
}

function draw() {
  const wanted = parts.filter.value.trim().toLowerCase()
  const value = COLUMNS[by][2]
  const shown = told.filter((each) => [each.id, ...each.names].some((name) => name.toLowerCase().includes(wanted)))
  shown.sort((one, other) => (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : 0) * (down ? -1 : 1))
  parts.heads.forEach((head, at) => set(head, { 'aria-sort': at === by ? (down ? 'descending' : 'ascending') : null }))
  parts.body.replaceChildren(...shown.flatMap((each) => [row(each), opened.get(each.id)].filter(Boolean)))
}

/** Show where a model's requests went, and why, below its row; or no more. */
async function explain(name, toggle) {
  const below = opened.get(name)
  set(toggle, { 'aria-expanded': String(!below) })
  if (below) {
    opened.delete(name)
    below.remove()
    return
  }
  const panel = h('div', { class: 'below' }, h('p', { role: 'status' }, 'Asking…'))
  const line = h('tr', {}, h('td', { colspan: COLUMNS.length }, panel))
  opened.set(name, line)
  toggle.closest('tr').after(line)
  try {
    panel.replaceChildren(...explained(await ask(of('/memory', name))))
  } catch (error) {
    panel.replaceChildren(h('p', { class: 'trouble', role: 'alert' }, why(error)))
  }
}

function row(each) {
  const names = each.names.filter((name) => name !== each.id)
  const away = each.peer && each.status.value === 'failed'
  const notes = [(away || each.status.servable === false) && each.status.error, each.status.no_engine, each.without_projector, each.ollama_only].filter(Boolean)
  const short = [kindOf(each), each.quantization, each.context_length && `${number(each.context_length)} tokens`, each.peer && `at ${where(each)}`, each.peers && `also at ${places(each).join(', ')}`].filter(Boolean).join(' · ')
  const toggle = (each.peer || each.peers) && button('Why', () => explain(each.id, toggle), { 'aria-label': `Why, ${each.id}`, 'aria-expanded': String(opened.has(each.id)) })
  const cells = [
    [h('b', {}, each.id), toggle, h('span', { class: 'soft narrow' }, short), names.length > 0 && h('span', { class: 'soft names' }, names.join(', ')), ...notes.map((text) => h('span', { class: 'why' }, sentence(text)))],
    kindOf(each), each.quantization ?? '–', number(each.context_length), bytes(each.size_bytes),
    each.needs_bytes === null ? '–' : [bytes(each.needs_bytes), h('span', { class: 'soft' }, ` ${each.needs_source}`)],
    h('span', { class: `state ${each.fits === false ? 'failed' : ''}` }, each.peer ? '–' : each.fits === null ? '?' : each.fits ? 'yes' : 'no'),
    where(each, { folder: 'a folder', ollama: 'Ollama’s store' }[each.source] ?? (each.source || 'a command'))
  ]
  return h('tr', {}, cells.map((cell, at) => h('td', { class: COLUMNS[at][1] }, cell)))
}
