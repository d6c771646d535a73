// Which view is shown, whether the server is there, and the key.

import { askForKeyWith, events, Refused, send, why } from './api.js'
import { h, say, set } from './dom.js'
import * as now from './now.js'
import * as time from './time.js'
import * as requests from './requests.js'
import * as catalog from './catalog.js'
import * as chat from './chat.js'
import * as log from './log.js'

// Each view has title, mount(root), show(), hide(), and perhaps event(kind, data). It asks nothing while it is hidden.
const VIEWS = { now, time, requests, catalog, try: chat, log }
const main = document.getElementById('main')
const link = document.getElementById('link')
const nav = document.querySelector('nav')
const sections = {}
let current = null
let shown = false
let stop = null
let followed = false // at least once

for (const [name, view] of Object.entries(VIEWS)) {
  nav.append(h('a', { href: `#${name}`, id: `to-${name}` }, view.title))
}

function go() {
  const asked = location.hash.slice(1)
  if (asked === 'main') return // the skip link's
  const name = Object.hasOwn(VIEWS, asked) ? asked : 'now'
  const view = VIEWS[name]
  if (view === current) return
  const first = current === null
  if (shown) current?.hide()
  for (const each of nav.children) set(each, { 'aria-current': each.id === `to-${name}` ? 'page' : null })
  for (const section of main.querySelectorAll(':scope > section')) section.hidden = true
  if (!sections[name]) {
    view.mount((sections[name] = h('section', { id: `view-${name}`, 'aria-labelledby': `title-${name}` },
      h('h1', { id: `title-${name}`, class: 'hidden', tabindex: '-1' }, view.title))))
    main.append(sections[name])
  }
  sections[name].hidden = false
  document.title = `${view.title} – llmsup`
  current = view
  if (shown) view.show()
  if (!first) sections[name].querySelector('h1').focus({ preventScroll: true })
  scrollTo(0, 0)
}

/** Follow what happens, for as long as the page is seen; after a break, from where it stopped. */
async function follow(signal) {
  let last = ''
  let pause = 1000
  while (!signal.aborted) {
    try {
      const response = await send('/events', { signal, headers: last ? { 'Last-Event-ID': last } : {} })
      say(link, 'live')
      link.className = 'live'
      pause = 1000
      if (followed) current.event?.('back', {}) // the first time, the view is just asking for everything
      followed = true
      for await (const { event, data, id } of events(response)) {
        if (id) last = id
        if (data) current.event?.(event, JSON.parse(data))
      }
      throw new TypeError('it ended')
    } catch (error) {
      if (signal.aborted) return
      link.className = 'lost'
      if (error.status === 403) { // this key may use models, and not see what happens
        link.className = ''
        say(link, 'a key for models only')
        return
      }
      say(link, error instanceof Refused ? why(error) : 'not connected: trying again')
    }
    await new Promise((done) => setTimeout(done, pause))
    pause = Math.min(pause * 2, 15000)
  }
}

/** A page that isn't seen asks nothing. */
function seen() {
  const visible = document.visibilityState === 'visible'
  if (visible === shown) return
  shown = visible
  if (shown) {
    stop = new AbortController()
    follow(stop.signal) // before the view asks how things are: nothing is missed in between
    current.show()
  } else {
    current.hide()
    stop.abort()
  }
}

const dialog = document.getElementById('key')
askForKeyWith((wrong) => new Promise((resolve) => {
  const form = dialog.querySelector('form')
  const text = 'It is kept in this page\u2019s memory until the page is closed, and nowhere else.'
  say(document.getElementById('key-why'), wrong ? `That key is not one of this server\u2019s. ${text}` : text)
  form.key.value = ''
  dialog.oncancel = (event) => event.preventDefault() // nothing works without one
  form.onsubmit = (event) => {
    event.preventDefault()
    const given = form.key.value.trim()
    form.key.value = ''
    dialog.close()
    resolve(given)
  }
  dialog.showModal()
}))

addEventListener('hashchange', go)
document.addEventListener('visibilitychange', seen)
go()
seen()
