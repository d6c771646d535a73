// Drives the page in a Chromium that runs already, and prints what was seen, as JSON.
// node page_driver.cjs MODULES BROWSER URL SCENARIO [JSON]
const fs = require('node:fs')
const path = require('node:path')

const [modules, browserAt, base, scenario, given = '{}'] = process.argv.slice(2)
const { chromium } = require(path.resolve(modules, 'playwright-core'))
const AXE = fs.readFileSync(path.join(modules, 'axe-core', 'axe.min.js'), 'utf8')
const options = JSON.parse(given)
const PATIENCE = 300000 // ms; generous: it says nothing about speed
const seen = { trouble: [], foreign: [], axe: [] }

/** A page of its own, whose errors and requests to others are written down. */
async function open(browser, { width = 1280, dark = false, ...more } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: width < 600 ? 844 : 900 },
    colorScheme: dark ? 'dark' : 'light',
    locale: 'en-GB',
    ...more
  })
  context.setDefaultTimeout(PATIENCE)
  const page = await context.newPage()
  page.on('console', (message) => {
    if (message.type() === 'error') seen.trouble.push(`${message.text()} ${message.location().url}`)
  })
  page.on('pageerror', (error) => seen.trouble.push(String(error)))
  page.on('request', (request) => { if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(base)) seen.foreign.push(request.url()) })
  return page
}

/** What axe finds that is serious. */
async function axe(page, where) {
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(AXE)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  for (const each of violations) {
    if (each.impact === 'serious' || each.impact === 'critical') {
      seen.axe.push(`${where}: ${each.id}: ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 120)} ${node.any[0]?.message ?? ''}`).join(' | ')}`)
    }
  }
}

const SHOWN = {
  now: '#view-now .bar > span',
  time: '#view-time .chart polygon, #view-time > .nothing:not([hidden])',
  requests: '#view-requests tbody tr, #view-requests > .nothing:not([hidden])',
  catalog: '#view-catalog tbody tr',
  try: '#chat-model:has(option)',
  log: '#view-log .log span'
}

/** A picture of what is shown, kept for people. */
const picture = (page, name, fullPage = true) => page.screenshot({ path: path.join(options.pictures, `${name}.png`), fullPage })

const texts = (locator) => locator.evaluateAll((all) => all.map((each) => each.innerText.replace(/\s+/g, ' ').trim()))

/** Those cards that are a model's; others' reasons may name it, too. */
const named = (cards, name) => cards.filter({ has: cards.page().locator('h3', { hasText: name }) })

/** Whether a name has become markup anywhere, and what the browser keeps. */
const leftovers = (page) => page.evaluate(async () => ({
  markup: document.querySelectorAll('img:not([src^="data:"])').length,
  kept: localStorage.length + sessionStorage.length + document.cookie.length + (await indexedDB.databases()).length
}))

/** Have the page believe that its tab is hidden, or seen again. */
const turn = (page, state) => page.evaluate((value) => {
  Object.defineProperty(document, 'visibilityState', { value, configurable: true })
  document.dispatchEvent(new Event('visibilitychange'))
}, state)

const scenarios = {
  /** Each view at a width: a picture, no error, nothing wider than the screen, what axe says. */
  async views(browser) {
    const { width, dark } = options
    seen.wide = []
    const page = await open(browser, { width, dark, isMobile: width < 600, hasTouch: width < 600 })
    await page.goto(`${base}/ui`)
    for (const view of Object.keys(SHOWN)) {
      await page.locator(`#to-${view}`).click()
      await page.locator(SHOWN[view]).first().waitFor()
      await page.locator('#link.live').waitFor()
      if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) seen.wide.push(view)
      await axe(page, view)
      await picture(page, `${view}-${width}`, view !== 'log')
    }
    seen.left = await leftovers(page)
  },

  /** Load, why, pin and unload, by keyboard where that is said; what would have to go is told before. */
  async acts(browser) {
    const page = await open(browser)
    const sent = []
    page.on('request', (request) => { if (request.method() === 'POST') sent.push([new URL(request.url()).search, request.postDataJSON()]) })
    await page.goto(`${base}/ui`)
    const rest = page.locator('#view-now .few .card')
    await rest.first().waitFor()
    seen.title = await page.title()
    await page.getByRole('button', { name: `Load ${options.huge}`, exact: true }).click()
    const never = named(rest, options.huge)
    await never.getByRole('button', { name: 'Close' }).waitFor()
    seen.never = await texts(never.locator('.below > p'))
    await never.getByRole('button', { name: 'Close' }).click()
    await page.getByRole('button', { name: `Load ${options.model}`, exact: true }).focus()
    await page.keyboard.press('Enter')
    await page.locator('.victims li').first().waitFor()
    seen.offered = await texts(page.locator('.below > p:not(.acts), .victims li'))
    seen.focused = await page.evaluate(() => document.activeElement.textContent)
    await axe(page, 'the offer')
    await picture(page, 'offer-1280')
    await page.keyboard.press('Enter')
    const loaded = page.locator('#view-now .cards:not(.few) > .card')
    const card = named(loaded, options.model)
    await card.filter({ has: page.locator('.state.ready') }).waitFor()
    await named(loaded, options.other).waitFor({ state: 'detached' })
    seen.loaded = await texts(card.locator('h3, .why, .facts div'))
    await card.getByRole('button', { name: 'Why' }).click()
    await card.locator('.below .decisions li').first().waitFor()
    await card.getByText('Command line').click()
    seen.why = await texts(card.locator('.below li, .below pre'))
    await axe(page, 'why')
    await picture(page, 'why-1280')
    await card.getByRole('button', { name: 'Pin', exact: true }).click()
    await card.locator('.flags', { hasText: 'pinned' }).waitFor()
    seen.pinned = await texts(card.locator('.pin, .flags'))
    await card.getByRole('button', { name: 'Unpin', exact: true }).click()
    await card.getByRole('button', { name: 'Pin', exact: true }).waitFor()
    seen.unpinned = await texts(card.locator('.pin, .flags'))
    await card.getByRole('button', { name: 'Unload' }).click()
    await card.waitFor({ state: 'detached' })
    seen.unloaded = await texts(named(rest, options.model).locator('.why'))
    seen.sent = sent
    seen.left = await leftovers(page)
  },

  /** A request in flight is cut off only if that is chosen. The browser's other tab streams it. */
  async force(browser) {
    const page = await open(browser)
    await page.goto(`${base}/ui#try`)
    await page.locator('#chat-model:has(option)').waitFor()
    await page.getByLabel('Your message').fill('go on')
    await page.keyboard.press('Enter')
    await page.locator('.assistant .text', { hasText: /\S/ }).first().waitFor()
    await page.locator('#to-now').click()
    seen.focused = await page.evaluate(() => document.activeElement.textContent)
    const card = page.locator('#view-now .cards:not(.few) > .card').filter({ has: page.locator('.state.busy') })
    await card.getByRole('button', { name: 'Unload' }).click()
    seen.asked = await texts(card.locator('.below p').first())
    await card.getByRole('button', { name: 'Cut them off now' }).click()
    await card.waitFor({ state: 'detached' })
    await page.locator('#to-try').click()
    await page.locator('.assistant .trouble').waitFor()
    seen.told = await texts(page.locator('.assistant .trouble'))
  },

  /** A chat, stopped and not, two texts, the log; then a hidden tab lets go of everything. */
  async talk(browser) {
    const page = await open(browser)
    await page.goto(`${base}/ui#try`)
    await page.locator('#chat-model:has(option)').waitFor()
    await page.getByLabel('Model', { exact: true }).selectOption(options.model)
    await page.locator('.settings summary').click()
    await page.getByLabel('max tokens').fill(String(options.tokens))
    await page.getByLabel('temperature').fill('0')
    await page.getByLabel('Your message').fill('Why is the sky blue?')
    await page.keyboard.press('Enter')
    await page.getByText('Done.').waitFor()
    seen.said = await texts(page.locator('.talk .text:visible'))
    seen.facts = await texts(page.locator('.assistant .soft'))
    await page.getByLabel('Your message').fill('And at night?')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText('Done.').waitFor()
    seen.turns = await page.locator('.talk article').count()
    await axe(page, 'a chat')
    await picture(page, `${options.name}-1280`)
    if (options.embedder) {
      await page.getByLabel('Embedding model').selectOption(options.embedder)
      await page.getByLabel('The one text').fill('The sky is blue.')
      await page.getByLabel('The other text').fill('Blue is the sky.')
      await page.getByRole('button', { name: 'Compare' }).click()
      await page.getByText('Cosine').waitFor()
      seen.alike = await page.locator('.alike').innerText()
    }
    await page.locator('#to-now').click()
    await page.locator('#view-now .bar > span.m').first().waitFor()
    seen.bar = await page.locator('#view-now .bar').getAttribute('aria-label')
    await picture(page, `${options.name}-now-1280`)
    await page.locator('#to-requests').click()
    await page.locator('#view-requests tbody tr').first().waitFor()
    seen.requests = await texts(page.locator('#view-requests tbody tr td:nth-child(2)'))
    if (options.embedder) {
      await page.getByRole('button', { name: 'Show what was said' }).last().click()
      await page.locator('.kept pre').first().waitFor()
      seen.kept = await page.locator('.kept pre').allInnerTexts()
      await axe(page, 'what was said')
    }
    await picture(page, `${options.name}-requests-1280`)
    await page.locator('#to-time').click()
    await page.locator('#view-time .decisions .state.load').first().waitFor()
    seen.happened = await texts(page.locator('#view-time .decisions b'))
    await picture(page, `${options.name}-time-1280`)
    await page.locator('#to-log').click()
    await page.locator('.log span').first().waitFor()
    await page.getByLabel('Show only lines with this').fill('llmsup: starting')
    seen.log = await texts(page.locator('.log span'))
    const over = Promise.all(['/events', '/logs/stream'].map((at) => page.waitForEvent('requestfailed', (request) => request.url() === base + at)))
    await turn(page, 'hidden')
    await over
    const asked = []
    page.on('request', (request) => asked.push(request.url()))
    await turn(page, 'visible')
    await page.locator('.log span').first().waitFor()
    await page.locator('#link.live').waitFor()
    seen.again = asked.filter((url) => url.endsWith('/events')).length
    seen.left = await leftovers(page)
  },

  /** Peers on the first view and in the catalog, at a width; what becomes of one is seen when it happens. */
  async peers(browser) {
    const { width, dark } = options
    const page = await open(browser, { width, dark, isMobile: width < 600, hasTouch: width < 600 })
    await page.goto(`${base}/ui`)
    await page.locator('#link.live').waitFor()
    const cards = page.locator('#view-now .peers > .card')
    await cards.first().waitFor()
    seen.cards = await texts(cards)
    seen.rest = await texts(page.locator('#view-now .few .card h3'))
    seen.notices = await texts(page.locator('.notices > li'))
    seen.wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
    await axe(page, 'peers')
    await picture(page, `peers-${width}`)
    await page.locator('#to-catalog').click()
    await page.locator('#view-catalog tbody tr').first().waitFor()
    seen.catalog = await page.locator('#view-catalog tbody tr').evaluateAll((rows) => rows.map((row) => [row.querySelector('b').textContent, row.lastElementChild.textContent, row.querySelector('.narrow').textContent, row.querySelector('.why')?.textContent ?? '']))
    await axe(page, 'the catalog with peers')
    await picture(page, `peers-catalog-${width}`)
    await page.locator('#to-now').click()
    await fetch(`${base}/models/load`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: options.signal }) }) // the test waits for it
    await cards.filter({ hasText: options.peer }).locator('.state.failed').waitFor()
    seen.left = await leftovers(page)
  },

  /** Where requests went and why: of a model that is here, too, on the first view, of one that peers have in the catalog. */
  async routes(browser) {
    const { width, dark } = options
    const page = await open(browser, { width, dark, isMobile: width < 600, hasTouch: width < 600 })
    await page.goto(`${base}/ui`)
    const card = named(page.locator('#view-now .card'), options.shared)
    await card.getByRole('button', { name: 'Why' }).click()
    await card.locator('.below .decisions li').first().waitFor()
    await card.locator('.below .decisions summary', { hasText: options.peer }).first().click()
    seen.here = await texts(card.locator('.below tr:visible'))
    await axe(page, 'where requests go')
    await picture(page, `routes-${width}`)
    await page.locator('#to-catalog').click()
    const toggle = page.getByRole('button', { name: `Why, ${options.far}` })
    await toggle.click()
    const below = page.locator('#view-catalog .below')
    await below.locator('.decisions li').first().waitFor()
    seen.expanded = await toggle.getAttribute('aria-expanded')
    seen.lines = await texts(below.locator('.lines li'))
    seen.far = await texts(below.locator('tr:visible'))
    seen.decisions = await texts(below.locator('.decisions .state, .decisions summary > span:last-child'))
    seen.wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
    await axe(page, 'where requests go, in the catalog')
    await picture(page, `routes-catalog-${width}`)
    await page.getByLabel('Filter the catalog').fill(options.far)
    seen.kept = await below.count()
    await toggle.click()
    seen.closed = [await toggle.getAttribute('aria-expanded'), await below.count()]
    seen.left = await leftovers(page)
  },

  /** Without a key nothing is shown; a wrong one is refused; the right one is nowhere but in memory. */
  async keys(browser) {
    const page = await open(browser)
    await page.goto(`${base}/ui`)
    const dialog = page.getByRole('dialog')
    await dialog.waitFor()
    await axe(page, 'the key')
    await picture(page, 'key-1280', false)
    seen.bare = await page.locator('#view-now .card').count()
    for (const key of ['wrong', options.key]) {
      await dialog.getByLabel('Key').fill(key)
      await page.keyboard.press('Enter')
      if (key === 'wrong') await page.getByText('not one of this server').waitFor()
    }
    await page.locator('#view-now .card').first().waitFor()
    await page.locator('#link.live').waitFor()
    seen.left = await leftovers(page)
    await page.reload()
    await dialog.getByLabel('Key').fill(options.limited)
    await page.keyboard.press('Enter')
    await page.locator('#view-now .trouble').waitFor()
    seen.told = await texts(page.locator('#view-now .trouble, #link'))
    await page.locator('#to-catalog').click()
    await page.locator('#view-catalog tbody tr').first().waitFor()
    seen.catalog = await page.locator('#view-catalog tbody b').allInnerTexts()
    seen.trouble = seen.trouble.filter((each) => !/ 40[13] /.test(each))
  },

  /** It is paused and resumed, and the config gets mistakes and loses them: each is told while it is so. */
  async notices(browser) {
    const page = await open(browser)
    await page.goto(`${base}/ui`)
    await page.locator('#link.live').waitFor()
    await page.locator('#view-now .cards:not(.few) > .card').first().waitFor()
    const lines = page.locator('.notices > li')
    await fetch(`${base}/pause`, { method: 'POST' })
    await lines.first().waitFor()
    seen.paused = await texts(lines)
    await page.locator('#view-now .cards:not(.few) > .card').first().waitFor({ state: 'detached' })
    await picture(page, 'paused-1280')
    fs.writeFileSync(options.file, options.bad)
    await lines.nth(1).waitFor()
    seen.both = await texts(lines)
    await axe(page, 'notices')
    await picture(page, 'notices-1280')
    await page.setViewportSize({ width: 390, height: 844 })
    await picture(page, 'notices-390')
    await page.getByRole('button', { name: 'Resume' }).click()
    await lines.nth(1).waitFor({ state: 'detached' })
    seen.mistakes = await texts(lines)
    fs.writeFileSync(options.file, options.good)
    await lines.first().waitFor({ state: 'detached' })
    seen.left = await leftovers(page)
  },

  /** Without JavaScript there is a table; without a history a calm word; another site's page is let nowhere. */
  async bare(browser) {
    const plain = await open(browser, { javaScriptEnabled: false })
    await plain.goto(`${base}/`)
    seen.at = plain.url()
    seen.rows = await plain.locator('noscript tbody tr td:first-child').allInnerTexts()
    await picture(plain, 'plain-1280')
    const page = await open(browser)
    await page.goto(`${base}/ui`)
    seen.calm = []
    for (const view of ['time', 'requests']) {
      await page.locator(`#to-${view}`).click()
      await page.locator(`#view-${view} > .nothing:visible`).waitFor()
      seen.calm.push(await page.locator(`#view-${view} > .nothing:visible`).innerText())
    }
    const evil = await (await browser.newContext()).newPage()
    await evil.route('http://evil.example/**', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>evil</title>' }))
    await evil.goto('http://evil.example/')
    seen.evil = await evil.evaluate(async ([to, model]) => {
      const body = JSON.stringify({ model })
      const tries = [fetch(`${to}/models/unload`, { method: 'POST', mode: 'no-cors', body }), fetch(`${to}/ui`), fetch(`${to}/unload`, { mode: 'no-cors' })]
      const frame = Object.assign(document.createElement('iframe'), { src: `${to}/ui` })
      document.body.append(frame)
      await new Promise((done) => { frame.onload = done })
      let inside = null
      try { inside = frame.contentDocument?.title ?? null } catch { /* another origin's */ }
      return [await Promise.allSettled(tries).then((all) => all.map((each) => each.status === 'fulfilled' && each.value.type !== 'opaque')), inside]
    }, [base, options.model])
  }
}

async function main() {
  const browser = await chromium.connectOverCDP(browserAt)
  try {
    await scenarios[scenario](browser)
  } finally {
    await browser.close() // only the connection: the browser is somebody else's
  }
  console.log(JSON.stringify(seen))
}

main().then(() => process.exit(0), (error) => {
  console.error(error, JSON.stringify(seen))
  process.exit(1)
})
