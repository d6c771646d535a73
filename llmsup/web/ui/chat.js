// A chat with any model, and how alike two texts are to an embedder. Nothing of it is stored, here or there.

import { events, post, Refused, send, why } from './api.js'
import { button, h, nothing, number, say, seconds, set } from './dom.js'
import { choices, models } from './models.js'

export const title = 'Try it'

const SAMPLING = [['temperature', '0.05'], ['top_p', '0.01'], ['top_k', '1'], ['min_p', '0.01'], ['repeat_penalty', '0.01'], ['max_tokens', '1'], ['seed', '1']]
const LARGEST = 20 * 2 ** 20 // bytes of an image

const parts = {}
let known = []
let talk = []
let images = []
let stop = null

export function mount(root) {
  parts.model = h('select', { id: 'chat-model', onchange: chosen })
  parts.system = h('textarea', { rows: '2', spellcheck: 'false' })
  parts.fields = SAMPLING.map(([name, step]) => [name, h('input', { type: 'number', step, min: name === 'seed' ? '-1' : '0', placeholder: 'the model’s', inputmode: 'decimal' })])
  parts.talk = h('div', { class: 'talk', role: 'log', 'aria-label': 'The chat', tabindex: '0' })
  parts.empty = nothing('Ask something. The model is loaded if it isn’t; nothing is stored.')
  parts.text = h('textarea', { rows: '3', 'aria-label': 'Your message', placeholder: 'Your message; Enter sends it, Shift-Enter begins a line', onkeydown: (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask() }
  } })
  parts.file = h('input', { type: 'file', accept: 'image/*', multiple: true, class: 'hidden', tabindex: '-1', 'aria-label': 'Images', onchange: take })
  parts.image = button('Add images', () => parts.file.click(), { hidden: true })
  parts.taken = h('ul', { class: 'taken', 'aria-label': 'Images to send' })
  parts.send = h('button', { class: 'main' }, 'Send')
  parts.stop = button('Stop', () => stop?.abort(), { hidden: true })
  parts.clear = button('Start over', () => { stop?.abort(); talk = []; images = []; parts.taken.replaceChildren(); parts.talk.replaceChildren(parts.empty) })
  parts.status = h('p', { class: 'soft', role: 'status' })
  parts.talk.append(parts.empty)

  parts.embedder = h('select', { id: 'embed-model' })
  parts.one = h('textarea', { rows: '2', 'aria-label': 'The one text', placeholder: 'The one text' })
  parts.other = h('textarea', { rows: '2', 'aria-label': 'The other text', placeholder: 'The other text' })
  parts.alike = h('p', { class: 'alike', role: 'status' })
  root.append(
    h('div', { class: 'head' }, h('label', { for: 'chat-model' }, 'Model'), parts.model),
    h('details', { class: 'panel settings' }, h('summary', {}, 'System prompt and sampling'),
      h('label', { class: 'block' }, 'System prompt', parts.system),
      h('div', { class: 'fields' }, parts.fields.map(([name, input]) => h('label', {}, name.replace('_', ' '), input)))),
    parts.talk,
    h('form', { class: 'ask', onsubmit: (event) => { event.preventDefault(); ask() } },
      parts.text, parts.taken, h('p', { class: 'acts' }, parts.send, parts.stop, parts.image, parts.file, parts.clear, parts.status)),
    h('h2', {}, 'How alike are two texts?'),
    h('form', { class: 'panel', onsubmit: (event) => { event.preventDefault(); compare() } },
      h('div', { class: 'head' }, h('label', { for: 'embed-model' }, 'Embedding model'), parts.embedder),
      h('div', { class: 'two' }, parts.one, parts.other),
      h('p', { class: 'acts' }, h('button', { class: 'main' }, 'Compare'), parts.alike)))
}

export async function show() {
  try {
    known = (await models()).filter((each) => each.status.servable !== false)
    const embedders = known.filter((each) => each.kind === 'embedding')
    choices(parts.model, known.filter((each) => each.kind !== 'embedding' && each.kind !== 'rerank').map((each) => each.id))
    choices(parts.embedder, (embedders.length ? embedders : known).map((each) => each.id))
    chosen()
  } catch (error) {
    say(parts.status, why(error))
  }
}

/** An answer goes on while another view is shown; the model works on it anyway. */
export function hide() {}

function chosen() {
  const model = known.find((each) => each.id === parts.model.value)
  parts.image.hidden = !model?.capabilities.includes('vision')
}

async function take() {
  for (const file of parts.file.files) {
    if (file.size > LARGEST) { say(parts.status, `${file.name} is larger than 20 MiB.`); continue }
    const url = await new Promise((resolve) => {
      const reader = new FileReader()
      reader.onload = () => resolve(reader.result)
      reader.readAsDataURL(file)
    })
    const image = { url, name: file.name }
    images.push(image)
    const item = h('li', {}, h('img', { src: url, alt: '' }), file.name, button('Remove', () => { images = images.filter((each) => each !== image); item.remove() }, { 'aria-label': `Remove ${file.name}` }))
    parts.taken.append(item)
  }
  parts.file.value = ''
}

function turn(role, ...children) {
  parts.empty.remove()
  const body = h('div', { class: 'body' }, children)
  parts.talk.append(h('article', { class: role }, h('h3', {}, role === 'user' ? 'You' : parts.model.value), body))
  parts.talk.scrollTop = parts.talk.scrollHeight
  return body
}

async function ask() {
  const text = parts.text.value.trim()
  if (stop || (!text && !images.length)) return
  const model = parts.model.value
  const content = images.length ? [{ type: 'text', text }, ...images.map((each) => ({ type: 'image_url', image_url: { url: each.url } }))] : text
  talk.push({ role: 'user', content })
  turn('user', h('p', { class: 'text' }, text), images.map((each) => h('img', { src: each.url, alt: each.name })))
  parts.text.value = ''
  images = []
  parts.taken.replaceChildren()
  const system = parts.system.value.trim()
  const body = { model, stream: true, stream_options: { include_usage: true }, messages: [...(system ? [{ role: 'system', content: system }] : []), ...talk] }
  for (const [name, input] of parts.fields) if (input.value !== '') body[name] = Number(input.value)
  stop = new AbortController()
  set(parts.stop, { hidden: false })
  parts.send.disabled = true
  await answer(body, stop.signal)
  stop = null
  set(parts.stop, { hidden: true })
  parts.send.disabled = false
}

/** One answer, as it comes; what was thought before it can be opened. */
async function answer(body, signal) {
  const said = h('p', { class: 'text' })
  const thought = h('p', { class: 'text' })
  const thinking = h('details', { class: 'thinking', hidden: true }, h('summary', {}, 'Thinking'), thought)
  const facts = h('p', { class: 'soft' })
  const place = turn('assistant', thinking, said, facts)
  const began = performance.now()
  const here = talk
  let first = null
  let usage = null
  let timings = null
  let trouble = ''
  set(parts.talk, { 'aria-busy': 'true' })
  say(parts.status, 'Waiting for the model…')
  const grow = (element, text) => {
    const end = parts.talk.scrollHeight - parts.talk.scrollTop - parts.talk.clientHeight < 60
    element.append(text)
    if (end) parts.talk.scrollTop = parts.talk.scrollHeight
  }
  try {
    const response = await send('/v1/chat/completions', { method: 'POST', body, signal })
    for await (const { data, comment } of events(response)) {
      if (comment) say(parts.status, `${comment}…`)
      if (!data || data === '[DONE]') continue
      const piece = JSON.parse(data)
      if (piece.error) throw new Refused(0, piece.error.message ?? String(piece.error))
      usage = piece.usage ?? usage
      timings = piece.timings ?? timings
      const delta = piece.choices?.[0]?.delta ?? {}
      if ((delta.content || delta.reasoning_content) && first === null) {
        first = (performance.now() - began) / 1000
        say(parts.status, 'Answering…')
      }
      if (delta.reasoning_content) { thinking.hidden = false; grow(thought, delta.reasoning_content) }
      if (delta.content) grow(said, delta.content)
    }
  } catch (error) {
    trouble = signal.aborted ? 'Stopped.' : why(error)
  }
  const took = (performance.now() - began) / 1000
  set(parts.talk, { 'aria-busy': null })
  if (trouble) place.append(h('p', { class: signal.aborted ? 'soft' : 'trouble', role: signal.aborted ? null : 'alert' }, trouble))
  if (said.textContent) here.push({ role: 'assistant', content: said.textContent })
  else here.pop() // else the next question would follow one without an answer
  const out = usage?.completion_tokens
  const speed = timings?.predicted_per_second ?? (out > 1 && first !== null && took > first ? (out - 1) / (took - first) : null)
  say(facts, [first !== null && `first token after ${seconds(first)}`, out && `${out} tokens`, speed && `${number(speed, 1)} tokens/s`, `${seconds(took)} in all`].filter(Boolean).join(' · '))
  say(parts.status, trouble ? '' : 'Done.')
}

async function compare() {
  const texts = [parts.one.value, parts.other.value]
  if (texts.some((text) => !text.trim())) return say(parts.alike, 'It takes two texts.')
  say(parts.alike, 'Asking the model…')
  try {
    const told = await post('/v1/embeddings', { model: parts.embedder.value, input: texts })
    const [one, other] = told.data.map((each) => each.embedding)
    const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0)
    const cosine = dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other))
    say(parts.alike, `Cosine ${cosine.toFixed(4)}, of ${one.length} dimensions`)
  } catch (error) {
    say(parts.alike, why(error))
  }
}
