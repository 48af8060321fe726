"""What generates text. In: requests (chats with sampling and seed). Out: completions, kept in a journal.

`common` holds what every engine's texts depend on, one folder beside it each engine, which alone imports its library.
`ray` is no engine of its own: it carries requests to engines in other processes. Used by every stage that generates.
"""
