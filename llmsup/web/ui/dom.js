// Elements and words. Whatever comes from a server becomes text nodes and attributes' values, never markup.

/** An element. Properties that are null or false are left out; those named on… are handlers; children are text or nodes. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag)
  set(element, props)
  element.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false))
  return element
}

export function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (value === null || value === undefined || value === false) element.removeAttribute(name)
    else if (element.getAttribute(name) !== String(value === true ? '' : value)) {
      element.setAttribute(name, value === true ? '' : value)
    }
  }
  return element
}

/** Change a text only where it is another: else screen readers would say it again, and selections would be lost. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text
  return element
}

/** Make a parent's children those for the items, in their order; nodes that stay are kept, with their focus. */
export function keyed(parent, items, keyOf, make) {
  const known = parent.known ?? (parent.known = new Map())
  const left = new Set(known.keys())
  let before = null
  for (const item of items) {
    const key = keyOf(item)
    left.delete(key)
    let node = known.get(key)
    if (!node) known.set(key, (node = make(item)))
    node.update?.(item)
    const place = before ? before.nextSibling : parent.firstChild
    if (place !== node) parent.insertBefore(node, place)
    before = node
  }
  for (const key of left) {
    known.get(key).remove()
    known.delete(key)
  }
}

export function bytes(size) {
  if (size === null || size === undefined) return '–'
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (Math.abs(size) < 1023.5) return `${unit === 'B' || unit === 'KiB' || size >= 100 ? size.toFixed(0) : size.toFixed(1)} ${unit}`
    size /= 1024
  }
  return `${size.toFixed(1)} TiB`
}

export function seconds(time) {
  if (time === null || time === undefined) return '–'
  if (time < 0.1) return `${Number((time * 1000).toPrecision(3))} ms`
  if (time < 10) return `${time.toFixed(time < 1 ? 2 : 1)} s`
  if (time < 120) return `${Math.round(time)} s`
  const whole = Math.round(time)
  if (whole < 600) return `${Math.floor(whole / 60)} m${whole % 60 ? ` ${whole % 60} s` : ''}`
  const minutes = Math.round(time / 60)
  if (minutes < 60) return `${minutes} m`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h${minutes % 60 ? ` ${minutes % 60} m` : ''}`
  return `${Math.floor(hours / 24)} d`
}

/** Whole seconds, for what counts down or up. */
export function ticking(time) {
  const whole = Math.max(0, Math.round(time))
  return whole < 120 ? `${whole} s` : seconds(whole)
}

export function number(value, digits = 0) {
  return value === null || value === undefined ? '–' : value.toLocaleString('en', { maximumFractionDigits: digits })
}

/** The time of day, with the date where it isn't today. */
export function clock(at) {
  const date = new Date(at * 1000)
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
  const today = date.toDateString() === new Date().toDateString()
  return today ? time : `${date.toLocaleDateString([], { day: 'numeric', month: 'short' }).replaceAll(' ', '\u00a0')} ${time}`
}

export function when(at) {
  return h('time', { datetime: new Date(at * 1000).toISOString() }, clock(at))
}

/** A reason as a sentence, without the name of the model that it stands beside. */
export function sentence(text, name = '') {
  let plain = String(text ?? '').trim()
  for (const start of name ? [`${name} was unloaded: `, `${name} `] : []) if (plain.startsWith(start)) plain = plain.slice(start.length)
  if (!plain) return ''
  const first = /^llmsup\b/.test(plain) ? plain[0] : plain[0].toUpperCase() // its name is written like that everywhere
  return first + plain.slice(1) + (/[.!?…]$/.test(plain) ? '' : '.')
}

const colours = new Map()
/** A model's colour, the same in all views: one of eight, given out as models turn up. */
export function colour(name) {
  if (!colours.has(name)) colours.set(name, `c${colours.size % 8}`)
  return colours.get(name)
}

export function dot(name) {
  return h('span', { class: `dot ${colour(name)}`, 'aria-hidden': 'true' })
}

export function button(text, onclick, props = {}) {
  return h('button', { type: 'button', onclick, ...props }, text)
}

/** Something for a list or a table that is empty. */
export function nothing(text) {
  return h('p', { class: 'nothing' }, text)
}

/** A table. Columns are [heading, class]; rows are lists of cells, each text or a node. */
export function table(caption, columns, rows) {
  return h('table', {},
    h('caption', { class: 'hidden' }, caption),
    h('thead', {}, h('tr', {}, columns.map(([name, kind]) => h('th', { scope: 'col', class: kind }, name)))),
    h('tbody', {}, rows.map((cells) => h('tr', {}, cells.map((cell, at) => h('td', { class: columns[at][1] }, cell)))))
  )
}

/** A box that scrolls sideways, by keyboard too. */
export function scroll(label, ...children) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label }, children)
}
