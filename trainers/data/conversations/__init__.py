"""Conversations for supervised fine-tuning: from records to packed blocks whose targets are known.

`messages.read_as(spec)` says how a record becomes a document, the JSON of its messages; `messages.of(text)` reads that
back. `rendering.ChatRenderer` writes one as token ids under a chat template, and knows its targets: the assistant's
turns with their end-of-turn token. `packed.prepare` has the arguments of `corpus.prepare`, and leaves a folder that
`corpus.open_packed` opens; the rows of its blocks are (sequences, length, 3), see `rows`.
"""
