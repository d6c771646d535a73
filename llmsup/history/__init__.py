"""What has been, kept in one small SQLite file: memory, loads and unloads, requests by the minute and the last ones.

`recorder` collects it and writes it down in batches, `file` opens, bounds and, where it is damaged, replaces the file.
"""
