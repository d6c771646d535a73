// The last hours: memory by model, what came and went, and how it was asked for.

import { ask, why } from './api.js'
import { area, frame, holder, nearest, readable, roundUp, runs, s } from './chart.js'
import { bytes, clock, colour, dot, h, keyed, nothing, number, say, scroll, seconds, sentence, table, when } from './dom.js'
import { numbers } from './decision.js'

export const title = 'Time'

const AGAIN = 60_000
const SPANS = [[1, '1 h'], [6, '6 h'], [24, '24 h'], [168, '7 d']]
const MOST = 200 // of what happened is listed
const LEAST = 600 // seconds that a chart shows
const HOLDS = 660 // seconds: while nothing changes, little is written down

const parts = {}
let hours = 6
let told = null
let timer = 0
let open = false

export function mount(root) {
  parts.spans = h('fieldset', { class: 'choice' }, h('legend', { class: 'hidden' }, 'How far back'), SPANS.map(([value, name]) =>
    h('label', {}, h('input', { type: 'radio', name: 'hours', value, checked: value === hours, onchange: () => { hours = value; look() } }), h('span', {}, name))))
  parts.note = nothing('')
  parts.body = h('div', { hidden: true })
  parts.memory = holder()
  parts.said = h('p', { class: 'said' })
  parts.legend = h('ul', { class: 'legend', 'aria-label': 'Colours of the chart' })
  parts.happened = h('ol', { class: 'decisions' })
  parts.quiet = nothing('Nothing was loaded or unloaded in this time.')
  parts.more = nothing('')
  parts.requests = holder()
  parts.first = holder()
  parts.table = h('div')
  parts.body.append(
    h('h2', {}, 'Memory by model'), h('div', { class: 'panel' }, parts.memory, parts.said, parts.legend),
    h('h2', {}, 'What happened'), parts.quiet, parts.happened, parts.more,
    h('div', { class: 'two' },
      h('div', {}, h('h2', {}, 'Requests a minute'), h('div', { class: 'panel' }, parts.requests)),
      h('div', {}, h('h2', {}, 'Seconds to the first token'), h('div', { class: 'panel' }, parts.first))),
    h('details', { class: 'panel' }, h('summary', {}, 'The same as a table'), parts.table))
  root.append(parts.spans, parts.note, parts.body)
  new ResizeObserver(() => draw()).observe(root)
}

export function show() {
  open = true
  look()
}

export function hide() {
  open = false
  clearTimeout(timer)
}

export function event(kind) {
  if (kind === 'load' || kind === 'unload') {
    clearTimeout(timer)
    timer = setTimeout(look, 1500) // when it has been written down
  }
}

async function look() {
  clearTimeout(timer)
  const asked = hours
  try {
    const answer = await ask(`/history?hours=${hours}`)
    if (asked !== hours) return
    told = zoomed(answer)
    const kept = told.keep_s !== 0
    note(!kept ? 'This server keeps no history: `[history] keep` is 0.' : told.samples.length > 1 ? '' : 'There is nothing yet from this time: llmsup has just begun to keep it.')
    parts.body.hidden = !kept || !told.samples.length
    draw()
  } catch (error) {
    parts.body.hidden = true
    note(why(error))
  }
  clearTimeout(timer)
  if (open) timer = setTimeout(look, AGAIN)
}

/** Where llmsup hasn't been there for so long, what there is gets the room. */
function zoomed(answer) {
  const first = answer.samples[0]?.at ?? answer.from
  return { ...answer, from: Math.max(answer.from, Math.min(first, answer.to - LEAST)) }
}

function note(text) {
  say(parts.note, text)
  parts.note.hidden = !text
}

function draw() {
  if (!told?.samples.length || !open) return
  const names = modelsIn(told.samples)
  drawMemory(names)
  keyed(parts.legend, ['', ...names], String, (name) => h('li', {},
    h('span', { class: `dot ${name ? colour(name) : 'others'}`, 'aria-hidden': 'true' }), h('span', { class: 'label' }, name || 'Everything else')))
  const last = told.happened.slice(-MOST).reverse()
  keyed(parts.happened, last, key, happening)
  parts.quiet.hidden = last.length > 0
  const more = told.happened.length - last.length + (told.happened_before ?? 0)
  say(parts.more, `… and ${more} more before that.`)
  parts.more.hidden = !more
  drawRequests()
  drawTable(names)
}

const key = (each) => `${each.at} ${each.event} ${each.model}`

/** Names of the models that had memory, those with the most first: they lie at the bottom. */
function modelsIn(samples) {
  const sums = new Map()
  for (const sample of samples) {
    for (const [name, size] of Object.entries(sample.models)) sums.set(name, (sums.get(name) ?? 0) + size)
  }
  return [...sums].sort((one, other) => other[1] - one[1]).map(([name]) => name)
}

function drawMemory(names) {
  const { samples, from, to } = told
  const most = Math.max(...samples.map((each) => each.total))
  const peak = Math.max(...samples.map((each) => Object.values(each.models).reduce((sum, size) => sum + size, 0)))
  const chart = frame(parts.memory, {
    from, to, most, unit: bytes, height: 220,
    label: `Memory from ${clock(from)} to ${clock(to)}: models held at most ${bytes(peak)} of ${bytes(most)}; ${told.happened.length} loads, unloads and decisions, listed below.`
  })
  const gap = Math.max(3 * told.step_s, HOLDS)
  for (const run of runs(samples, gap)) {
    const under = run.map(() => 0)
    const put = (of, kind, name) => {
      const low = [...under]
      run.forEach((each, at) => { under[at] += of(each) })
      const high = [...under]
      chart.svg.append(area(chart, run, low, high, kind, name))
    }
    put((each) => each.others ?? 0, 'others', 'Everything else')
    for (const name of names) put((each) => each.models[name] ?? 0, colour(name), name)
    run.forEach((each, at) => {
      if (each.pressure === 'none' || each.pressure === 'normal') return
      const end = run[at + 1]?.at ?? each.at + told.step_s
      chart.svg.append(s('rect', { x: chart.x(each.at), y: chart.floor - 4, width: Math.max(1.5, chart.x(end) - chart.x(each.at)), height: 4, class: each.pressure },
        s('title', {}, `pressure ${each.pressure}`)))
    })
  }
  for (const each of told.happened) {
    const up = each.event.startsWith('load')
    if ((!up && !each.event.startsWith('unload')) || each.at < from) continue
    const at = chart.x(each.at)
    const top = up ? chart.floor - 9 : 8
    const points = up ? `${at},${top} ${at - 5},${top + 9} ${at + 5},${top + 9}` : `${at},${top + 9} ${at - 5},${top} ${at + 5},${top}`
    chart.svg.append(s('line', { x1: at, x2: at, y1: 8, y2: chart.floor, class: 'mark' }),
      s('polygon', { points, class: `mark ${up ? 'up' : 'down'}`, onclick: () => lead(each) }, s('title', {}, `${each.model} ${each.event}: ${each.reason}`)))
  }
  readable(chart, parts.said, (at) => {
    const sample = nearest(samples, at)
    const held = names.filter((name) => sample.models[name])
    return [when(sample.at), ...held.flatMap((name) => [dot(name), `${name} ${bytes(sample.models[name])} `]),
      h('span', { class: 'soft' }, `everything else ${bytes(sample.others)}, free ${bytes(sample.free)}`)]
  })
  say(parts.said, 'Point at the chart to read it; ▲ is a load and ▼ an unload, each of which is explained below.')
  parts.memory.replaceChildren(chart.svg)
}

/** From a mark on the chart to its words. */
function lead(each) {
  const node = parts.happened.known?.get(key(each))
  if (!node) return
  const details = node.querySelector('details')
  if (details) details.open = true
  node.scrollIntoView({ block: 'center' })
  node.querySelector('summary')?.focus()
}

function happening(each) {
  const line = [when(each.at), h('span', { class: `state ${each.event}` }, each.event),
    h('span', {}, each.model && dot(each.model), each.model && h('b', {}, each.model, ' '), sentence(each.reason, each.model))]
  return each.decision ? h('li', {}, h('details', {}, h('summary', {}, line), numbers(each.decision))) : h('li', { class: 'plain' }, line)
}

function drawRequests() {
  const { requests, from, to, step_s: step } = told
  const width = Math.max(step, 60)
  const rate = (count) => count * 60 / width
  const most = roundUp(Math.max(0, ...requests.map((each) => rate(each.count))))
  const sum = requests.reduce((all, each) => all + each.count, 0)
  const failed = requests.reduce((all, each) => all + each.errors, 0)
  const bars = frame(parts.requests, { from, to, most, unit: (value) => number(value, 2), label: `${sum} requests, ${failed} of them with errors.` })
  for (const each of requests) {
    const left = Math.max(bars.x(each.at), bars.left)
    const wide = Math.max(1.5, bars.x(each.at + width) - left - 0.5)
    const title = () => s('title', {}, `${clock(each.at)}: ${each.count} requests, ${each.errors} with errors`)
    const top = bars.y(rate(each.count))
    bars.svg.append(s('rect', { x: left, y: top, width: wide, height: bars.floor - top, class: 'count' }, title()))
    if (each.errors) {
      const high = bars.y(rate(each.errors))
      bars.svg.append(s('rect', { x: left, y: high, width: wide, height: bars.floor - high, class: 'critical' }, title()))
    }
  }
  parts.requests.replaceChildren(bars.svg)
  const timed = requests.filter((each) => each.first_token_s !== null)
  const longest = roundUp(Math.max(0, ...timed.map((each) => each.first_token_s)))
  const dots = frame(parts.first, { from, to, most: longest, unit: (value) => seconds(value), label: `The median of each bucket; the longest is ${seconds(Math.max(0, ...timed.map((each) => each.first_token_s)))}.` })
  for (const each of timed) {
    dots.svg.append(s('circle', { cx: dots.x(each.at + width / 2), cy: dots.y(each.first_token_s), r: 2.5, class: 'count' },
      s('title', {}, `${clock(each.at)}: ${seconds(each.first_token_s)}`)))
  }
  parts.first.replaceChildren(dots.svg)
}

function drawTable(names) {
  const step = Math.max(1, Math.ceil(told.samples.length / 24))
  const rows = told.samples.filter((_, at) => at % step === 0).reverse().map((each) => [
    when(each.at), ...names.map((name) => bytes(each.models[name] ?? 0)), bytes(each.others), bytes(each.free), each.pressure])
  parts.table.replaceChildren(scroll('Memory over time', table('Memory over time',
    [['When', ''], ...names.map((name) => [name, 'right']), ['Everything else', 'right'], ['Free', 'right'], ['Pressure', '']], rows)))
}
