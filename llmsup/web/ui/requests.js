// The last requests, without what was said in them, unless a model is set to keep that.

import { ask, of, why } from './api.js'
import { bytes, button, clock, h, nothing, number, say, scroll, seconds, when } from './dom.js'
import { choices } from './models.js'

export const title = 'Requests'

const AGAIN = 5000
const COLUMNS = [['When', ''], ['Model', 'name'], ['Client', 'wide name'], ['Path', 'wide'], ['Status', ''], ['Waited', 'right wide'], ['First token', 'right'],
  ['Took', 'right wide'], ['In', 'right wide'], ['Cached', 'right wide'], ['Out', 'right wide'], ['Tokens/s', 'right'], ['', '']]

const parts = {}
let told = []
let seen = null
let timer = 0
let open = false

export function mount(root) {
  parts.model = h('select', { 'aria-label': 'Model', onchange: draw })
  parts.failed = h('input', { type: 'checkbox', onchange: draw })
  parts.sum = h('p', { class: 'soft', role: 'status' })
  parts.note = nothing('')
  parts.body = h('tbody')
  parts.table = scroll('The last requests', h('table', { class: 'requests' },
    h('caption', { class: 'hidden' }, 'The last requests, newest first'),
    h('thead', {}, h('tr', {}, COLUMNS.map(([name, kind]) => h('th', { scope: 'col', class: kind }, name || h('span', { class: 'hidden' }, 'What was said'))))), parts.body))
  parts.kept = h('div', { class: 'panel kept', hidden: true, tabindex: '-1', role: 'region', 'aria-label': 'What was said' })
  root.append(h('div', { class: 'head' }, parts.model, h('label', { class: 'check' }, parts.failed, ' Only errors'), parts.sum), parts.note, parts.kept, parts.table)
  choices(parts.model, [], 'All models')
}

export function show() {
  open = true
  look()
}

export function hide() {
  open = false
  clearTimeout(timer)
}

/** The newest alone is asked for at first: mostly there is no other than the last time. */
async function look() {
  clearTimeout(timer)
  try {
    const [newest] = (await ask('/requests?n=1')).requests
    if (seen === null || newest?.id !== seen) {
      told = (await ask('/requests?n=500')).requests
      seen = told[0]?.id ?? null
      choices(parts.model, [...new Set(told.map((each) => each.model).filter(Boolean))].sort(), 'All models')
      draw()
    }
    if (!told.length) note('No request has come yet.')
  } catch (error) {
    parts.table.hidden = true
    note(why(error))
  }
  clearTimeout(timer)
  if (open) timer = setTimeout(look, AGAIN)
}

function note(text) {
  say(parts.note, text)
  parts.note.hidden = !text
}

function draw() {
  const shown = told.filter((each) => (!parts.model.value || each.model === parts.model.value) && (!parts.failed.checked || failed(each)))
  parts.table.hidden = !shown.length
  note(shown.length || !told.length ? '' : 'None of the last requests is like that.')
  const out = shown.reduce((sum, each) => sum + (each.tokens_out ?? 0), 0)
  say(parts.sum, told.length ? `${shown.length} requests, ${number(out)} tokens of answers` : '')
  parts.body.replaceChildren(...shown.flatMap(rows))
}

const LEFT = 'client left' // nobody's fault here
const failed = (each) => each.error !== LEFT && (Boolean(each.error) || each.status >= 400)

function rows(each) {
  const cells = [
    when(each.at), each.model ?? '–', each.client ?? '–', each.path ?? '–', h('span', { class: failed(each) ? 'state failed' : '' }, each.error === LEFT ? 'left' : String(each.status || '–')),
    seconds(each.waited_s), seconds(each.first_token_s), seconds(each.took_s), number(each.tokens_in), number(each.tokens_cached),
    number(each.tokens_out), number(each.tokens_per_s, 1), each.captured ? button('Show', () => lookInto(each), { 'aria-label': `Show what was said at ${clock(each.at)}` }) : ''
  ]
  const row = h('tr', {}, cells.map((cell, at) => h('td', { class: COLUMNS[at][1] }, cell)))
  return failed(each) && each.error ? [row, h('tr', { class: 'error' }, h('td', { colspan: COLUMNS.length }, each.error))] : [row]
}

async function lookInto(each) {
  parts.kept.hidden = false
  try {
    const kept = await ask(of('/requests', each.id))
    const size = (text) => bytes(new Blob([text]).size)
    parts.kept.replaceChildren(
      h('h2', {}, `${each.model}, ${clock(each.at)}`),
      h('h3', {}, `Request (${size(kept.request ?? '')})`), h('pre', { tabindex: '0' }, kept.request ?? ''),
      h('h3', {}, `Answer (${size(kept.answer ?? '')})`), h('pre', { tabindex: '0' }, kept.answer ?? ''),
      h('p', { class: 'acts' }, button('Close', () => { parts.kept.hidden = true })))
  } catch (error) {
    parts.kept.replaceChildren(h('p', { class: 'trouble', role: 'alert' }, why(error)))
  }
  parts.kept.focus()
}
