"""Listening tests: which of two clips is more natural, and how natural is each clip (MOS).

`design` plans what each listener hears, `build` writes a folder that any web server can serve,
`server` is a small one that also collects answers, `answers` validates them, and `analysis`
computes preferences, mean opinion scores and agreement.
"""
