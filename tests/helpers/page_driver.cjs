// Drives the page in a Chromium that runs already, and prints what was seen, as JSON.
// node page_driver.cjs MODULES BROWSER URL SCENARIO [JSON]
const fs = require('node:fs')
const path = require('node:path')

const [modules, browserAt, base, scenario, given = '{}'] = process.argv.slice(2)
const { chromium } = require(path.resolve(modules, 'playwright-core'))
const AXE = fs.readFileSync(path.join(modules, 'axe-core', 'axe.min.js'), 'utf8')
const options = JSON.parse(given)
const seen = { trouble: [], foreign: [], axe: [] }

/** A page of its own, whose errors and requests to others are written down. */
async function open(browser, { width = 1280, dark = false, ...more } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: width < 600 ? 844 : 900 },
    colorScheme: dark ? 'dark' : 'light',
    locale: 'en-GB',
    ...more
  })
  context.setDefaultTimeout(options.patience ?? 60000)
  const page = await context.newPage()
  page.on('console', (message) => { if (message.type() === 'error') seen.trouble.push(message.text()) })
  page.on('pageerror', (error) => seen.trouble.push(String(error)))
  page.on('request', (request) => { if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(base)) seen.foreign.push(request.url()) })
  return page
}

/** What axe finds that is serious. */
async function axe(page, where) {
  await page.evaluate(AXE)
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  for (const each of violations) {
    if (each.impact === 'serious' || each.impact === 'critical') {
      seen.axe.push(`${where}: ${each.id}: ${each.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 120)} ${node.any[0]?.message ?? ''}`).join(' | ')}`)
    }
  }
}

/** Answer some paths in the server's place: {path: {status, json}}. */
async function standIn(page, answers) {
  for (const [at, { status = 200, json }] of Object.entries(answers ?? {})) {
    await page.route((url) => url.pathname === at || url.pathname + url.search === at, (route) => route.fulfill({ status, json }))
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

const scenarios = {
  /** Each view at two widths: a picture, no error, nothing wider than the screen, what axe says. */
  async views(browser) {
    seen.wide = []
    for (const [width, dark] of [[1280, false], [390, true]]) {
      const page = await open(browser, { width, dark })
      await standIn(page, options.answers)
      for (const view of options.views ?? Object.keys(SHOWN)) {
        await page.goto(`${base}/ui#${view}`)
        await page.locator(SHOWN[view]).first().waitFor()
        await page.locator('#link.live').waitFor()
        if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) seen.wide.push(`${view} at ${width}`)
        await axe(page, `${view} at ${width}`)
        await page.screenshot({ path: path.join(options.pictures, `${options.name ?? ''}${view}-${width}.png`), fullPage: view !== 'log' })
      }
      await page.context().close()
    }
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
