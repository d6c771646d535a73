// Talks to a server through Ollama's own client for JavaScript, and prints what that made of it, as JSON.
// node ollama_talk.cjs CLIENT URL MODEL EMBEDDER
const [client, host, model, embedder] = process.argv.slice(2)
const { Ollama } = require(client)

async function refusal(talk) {
  try {
    await talk()
  } catch (error) {
    return { name: error.name, status: error.status_code ?? null, message: error.message }
  }
  return null
}

async function main() {
  const ollama = new Ollama({ host })
  const messages = [{ role: 'user', content: 'hi' }]
  const options = { num_predict: 4, temperature: 0 }
  const said = {}
  said.version = await ollama.version()
  said.tags = (await ollama.list()).models.map((each) => each.name)
  said.chat = await ollama.chat({ model, messages, options, keep_alive: '5m' })
  said.pieces = []
  for await (const piece of await ollama.chat({ model, messages, options, stream: true })) said.pieces.push(piece)
  said.generated = []
  for await (const piece of await ollama.generate({ model, prompt: 'Once', raw: true, options, stream: true })) {
    said.generated.push(piece)
  }
  said.format = await ollama.generate({ model, prompt: 'a number', format: { enum: ['seven'] }, options })
  said.embed = await ollama.embed({ model: embedder, input: ['a', 'b'] })
  said.embeddings = await ollama.embeddings({ model: embedder, prompt: 'a' })
  said.show = await ollama.show({ model })
  said.ps = (await ollama.ps()).models
  const long = await ollama.chat({ model, messages, options: { num_predict: 400 }, stream: true })
  said.aborted = await refusal(async () => {
    for await (const _ of long) long.abort()
  })
  said.unknown = await refusal(() => ollama.chat({ model: 'nosuch', messages }))
  said.bad = await refusal(() => ollama.chat({ model, messages, options: { top_k: 'much' } }))
  said.refused = await refusal(() => ollama.delete({ model }))
  said.unload = await ollama.generate({ model, prompt: '', keep_alive: 0 })
  console.log(JSON.stringify(said))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
