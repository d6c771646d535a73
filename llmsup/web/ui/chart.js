// Charts over time, in SVG, as wide as there is room. What they show is also said in words and in a table by the views.

import { h } from './dom.js'

const NS = 'http://www.w3.org/2000/svg'
const LEFT = 58
const RIGHT = 6
const TOP = 6
const BOTTOM = 20

export function s(name, props = {}, ...children) {
  const element = document.createElementNS(NS, name)
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
    else if (value !== null) element.setAttribute(key, value)
  }
  element.append(...children)
  return element
}

/** A chart's frame: its axes, and where a time and a value lie. `most`: the largest value. */
export function frame(box, { from, to, most, label, height = 170, unit = String }) {
  const width = Math.max(box.clientWidth, 240)
  const x = (at) => LEFT + (at - from) / (to - from || 1) * (width - LEFT - RIGHT)
  const y = (value) => height - BOTTOM - value / (most || 1) * (height - TOP - BOTTOM)
  const svg = s('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label })
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const at = Math.round(y(most * share)) + 0.5
    svg.append(s('line', { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, class: 'grid' }))
    if (share % 0.5 === 0) svg.append(s('text', { x: LEFT - 6, y: at + 4, class: 'right' }, unit(most * share)))
  }
  const count = Math.max(2, Math.floor((width - LEFT) / 110))
  for (let at = 0; at <= count; at += 1) {
    const when = from + (to - from) * at / count
    const place = at === count ? 'right' : at ? 'middle' : ''
    svg.append(s('text', { x: x(when), y: height - 5, class: place }, hour(when, to - from)))
  }
  return { svg, x, y, width, height, left: LEFT, right: width - RIGHT, floor: height - BOTTOM, from, to }
}

function hour(at, span) {
  const date = new Date(at * 1000)
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false })
  return span > 36 * 3600 ? date.toLocaleDateString([], { weekday: 'short', day: 'numeric' }) : time
}

/** Runs of points without a gap of more than so many seconds: nothing is drawn over the time llmsup wasn't there. */
export function runs(points, gap) {
  const all = []
  for (const point of points) {
    const last = all.at(-1)
    if (last && point.at - last.at(-1).at <= gap) last.push(point)
    else all.push([point])
  }
  return all
}

/** An area between two lines, over one run; each value holds until the next point. */
export function area({ x, y }, run, low, high, kind, name) {
  const corners = (values) => run.flatMap((point, at) => {
    const value = y(values[at]).toFixed(1)
    return [`${x(point.at).toFixed(1)},${value}`, `${x(run[at + 1]?.at ?? point.at).toFixed(1)},${value}`]
  })
  return s('polygon', { points: [...corners(high), ...corners(low).reverse()].join(' '), class: kind }, s('title', {}, name))
}

/** A line to read values at, where the pointer is. `told` gives the words for a time. */
export function readable(chart, said, told) {
  const line = s('line', { y1: TOP, y2: chart.floor, class: 'cursor', visibility: 'hidden' })
  chart.svg.append(line)
  chart.svg.addEventListener('pointermove', (event) => {
    const box = chart.svg.getBoundingClientRect()
    const share = (event.clientX - box.left - chart.left) / (chart.right - chart.left)
    if (share < 0 || share > 1) return
    const at = chart.from + share * (chart.to - chart.from)
    line.setAttribute('x1', chart.x(at))
    line.setAttribute('x2', chart.x(at))
    line.setAttribute('visibility', 'visible')
    said.replaceChildren(...told(at))
  })
  chart.svg.addEventListener('pointerleave', () => line.setAttribute('visibility', 'hidden'))
}

/** The value whose time is nearest; items have `at`, in order. */
export function nearest(items, at) {
  return items.reduce((best, each) => (best && Math.abs(best.at - at) <= Math.abs(each.at - at) ? best : each), null)
}

/** A round number, not less than this one. */
export function roundUp(value) {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= value)
}

export function holder() {
  return h('div', { class: 'chart' })
}
