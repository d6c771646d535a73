"""Models that are fetched: from the hub (Hugging Face), or by an Ollama that runs here.

    name       what people paste, read
    hub        what a repository has · hub_client: the hub's own library, the one module that imports it
    choice     which of a repository's files: the quantisation, its parts, its projector
    fit        whether a choice would fit this machine, by its header, before it is fetched
    plan       where each file goes, and whether the disk has room
    fetch      the files themselves, step by step; what is unfinished goes on where it ended
    ollama     where Ollama is, and what it says while it pulls

Everything but `ollama` blocks, so that commands can use it as it is, and a server in worker threads, a step at a time.
"""
