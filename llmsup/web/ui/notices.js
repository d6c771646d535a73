// What is wrong with the whole server, above everything: it is paused, its config can't be applied, engines are missing.

import { ask, post, why } from './api.js'
import { button, clock, h, sentence } from './dom.js'

const FRESH = 60_000 // ms
const ABOUT_CONFIG = /config/

let at = 0
let known = []

/** The next look asks anew. */
export function stale() {
  at = 0
}

/** Problems in sentences; for a config that isn't applied, its mistakes. */
async function problems() {
  if (Date.now() - at < FRESH) return known
  at = Date.now()
  known = (await ask('/health')).problems ?? []
  if (known.some((each) => ABOUT_CONFIG.test(each))) {
    const { file, problem, mistakes } = await ask('/reload-config')
    known = known.filter((each) => !ABOUT_CONFIG.test(each))
    if (problem) known.push([`The config has changed, and is not applied: ${problem}`, mistakes.map((each) => each.replace(` @ ${file}: `, ' @ '))])
  }
  return known
}

/** Show them. `paused` is what /memory says of a pause. */
export async function notices(box, paused, again) {
  const lines = []
  if (paused) {
    const resume = button('Resume', async () => {
      try { await post('/resume', {}) } catch (error) { resume.after(h('span', { class: 'trouble', role: 'alert' }, why(error))) }
      again()
    })
    // What it says itself of a pause that ends counts down: the button would be another each time.
    lines.push(h('li', {}, h('span', {}, paused.until ? `llmsup is paused until ${clock(paused.until)}.` : sentence(paused.reason)), resume))
  }
  for (const each of await problems()) {
    const [text, mistakes] = Array.isArray(each) ? each : [each, []]
    if (!paused || !text.startsWith('llmsup is paused')) {
      lines.push(h('li', {}, h('span', {}, sentence(text)), mistakes.length > 0 && h('ul', {}, mistakes.map((one) => h('li', {}, one)))))
    }
  }
  const words = lines.map((line) => line.textContent).join('\n')
  if (box.words !== words) { // else a focused button would be lost each time
    box.words = words
    box.replaceChildren(...lines)
  }
  box.hidden = !lines.length
}
