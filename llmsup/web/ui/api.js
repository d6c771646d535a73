// Questions to the server. The key, if one is wanted, is kept here and nowhere else.

let key = ''
let asking = null
let prompt = async () => ''

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor(status, message, code) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** Have the key asked for by this function, whenever one is wanted; it is told whether one was wrong. */
export function askForKeyWith(how) {
  prompt = how
}

async function newKey(tried) {
  if (key !== tried) return // another question has got a new one meanwhile
  asking ??= prompt(Boolean(tried)).finally(() => { asking = null })
  key = await asking
}

async function refusal(response) {
  let message = `The server answered ${response.status}.`
  let code = ''
  try {
    const told = (await response.json()).error
    message = typeof told === 'string' ? told : told.message
    code = told.code
  } catch { /* not its own words, then */ }
  return new Refused(response.status, message, code)
}

/** Send a request; the answer's head, once it isn't refused. Throws Refused, or TypeError if nobody is there. */
export async function send(path, { method = 'GET', body, signal, headers = {} } = {}) {
  for (;;) {
    const tried = key
    const response = await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      headers: {
        ...headers,
        ...(tried ? { Authorization: `Bearer ${tried}` } : {}),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' })
      },
      body: body === undefined ? undefined : JSON.stringify(body)
    })
    if (response.ok) return response
    if (response.status !== 401) throw await refusal(response)
    await newKey(tried)
  }
}

export async function ask(path, options) {
  return (await send(path, options)).json()
}

export const post = (path, body, more = {}) => ask(path, { method: 'POST', body, ...more })

/** A path with a model's name in it. */
export const of = (path, name) => `${path}/${encodeURIComponent(name)}`

/** An answer's text, piece by piece as it comes. */
export async function* pieces(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}

/** Server-sent events: {event, data, id}, and for a comment {comment}. */
export async function* events(response) {
  let rest = ''
  let now = { event: 'message', data: '' }
  for await (const piece of pieces(response)) {
    rest += piece
    let end
    while ((end = rest.indexOf('\n')) >= 0) {
      const line = rest.slice(0, end).replace(/\r$/, '')
      rest = rest.slice(end + 1)
      if (line === '') {
        if (now.data) yield { ...now, data: now.data.slice(0, -1) }
        now = { event: 'message', data: '' }
      } else if (line.startsWith(':')) yield { comment: line.slice(1).trim() }
      else {
        const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line)
        if (field === 'data') now.data += `${value}\n`
        else now[field] = value
      }
    }
  }
}

/** Why something failed, for people. */
export function why(error) {
  if (error instanceof Refused) return error.message
  return error instanceof TypeError ? 'llmsup does not answer.' : String(error.message ?? error)
}
