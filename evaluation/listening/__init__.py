"""Listening tests: which of two clips is more natural, and how natural is each (MOS).

`design` says who hears what, `build` writes a folder that any web server can serve, `server` is a
small one that collects answers, `answers` checks them and `analysis` says what they show.
"""
