"""llmsup: a supervisor for local language models.

The rooms, and who may import whom. Each imports only from those above it. The parts of a room may have an order, too:
what is left of a `<` may not import what is right of it. `tests/test_rooms.py` enforces both.

    errors/      one base Error(status, code, hint); by who is at fault: request, engine, server, set-up
    units.py     Seconds, Bytes: parsed once at the edge, printed for people
    process/     watched value · restart budget · orphan guard · child process and its kin · what it inherits · log book
                 leftovers of one that was killed · server file: where a running server is
                 programs that are run for what they print · files that are written whole or not at all
                 which programs run on the machine · what keeps it awake
    config/      schema (frozen attrs), load (tomllib + cattrs, strict, every mistake at once), the live cell
    catalog/     which models there are: GGUF headers, LM Studio's folders, Ollama's store, names
                 gguf < ollama.compat < found < gguf.header_cache < name_parts < ollama < the rest
    engines/     how a model becomes a command line, and how an engine is spoken to (connection, pool)
                 sampling, address, offload, devices, sleep < launch, cores, context < llama_server.flags
                 < llama_server.flag_probe < kind < finding < llama_server < the rest
    memory/      which models to unload · readings of the machine · what a model costs, estimated and measured
                 amounts < policy < machine < cost
    prompt_cache/  conversations that survive an unload: fingerprints, the store, what an engine's slots say
    fleet/       a model's states, queue and runs · the governor: admission and eviction · names to models · reconciler
                 backend < engine < model < memory < the rest
                 the config's file, and its watch · pauses, and for which programs · RPC workers
    peers/       other servers whose models are served here, too: what they offer, which of them gets a request
                 asking/: one file for each kind of server · health, and waking
    bridge/      Ollama → LM Studio links, or the user's own program for it: when, and one at a time
    downloads/   models that are fetched: from the hub, or by an Ollama that runs here
    gateway/     request → model → engine: find the body's model, edit the body, relay bytes
    history/     what has been, in one small SQLite file: memory, loads, requests; collected here, written by a thread
    web/         the front, straight into the gateway; all else on Hypercorn: the Quart-trio app, control, errors
    tree.py      the composition root: the one place that knows every part
    cli/         one command a file

One process, one trio nursery tree:

    llmsup serve
    main: signals
    └─ infra    the orphan guard · memory monitor and governor · the history · the bridge · awake   first up, last down
       └─ fleet   the reconciler, the config's watch, pauses; one supervisor per model, started on first use
          │         └─ run: the engine's process group, its log pump, its health probe, the idle timer
          └─ edge   the front, and Hypercorn with the Quart-trio app   started last, stopped first; drains
"""

__version__ = "0.1.0"
