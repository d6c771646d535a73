// The models that there are, for all views: asked for once, and again when something may have changed.

import { ask } from './api.js'

let list = []
let at = 0
let coming = null

const FRESH = 60_000 // ms; what happens meanwhile is told by events

/** All models and presets, by name. */
export async function models(anew = false) {
  if (!anew && Date.now() - at < FRESH) return list
  coming ??= ask('/v1/models').then((told) => {
    list = told.data
    at = Date.now()
    return list
  }).finally(() => { coming = null })
  return coming
}

/** The next one who asks gets them anew. */
export function changed() {
  at = 0
}

/** Without presets: "model:preset" is the same engine. */
export function withoutPresets(all) {
  const names = new Set(all.map((each) => each.id))
  return all.filter((each) => !names.has(each.id.slice(0, Math.max(each.id.lastIndexOf(':'), 0))))
}

export function kindOf(model) {
  const more = model.capabilities.filter((each) => ['vision', 'audio', 'tools', 'thinking'].includes(each))
  return [model.kind, ...more].join(' +')
}

/** Keep a select's options in step with names. */
export function choices(select, names, none = null) {
  const wanted = [...(none === null ? [] : ['']), ...names]
  const had = [...select.options].map((each) => each.value)
  if (wanted.length === had.length && wanted.every((each, index) => each === had[index])) return
  const chosen = select.value
  select.replaceChildren(...wanted.map((name) => new Option(name === '' ? none : name, name)))
  select.value = wanted.includes(chosen) ? chosen : wanted[0] ?? ''
}
