"""The demo host: a corner shop and a clinic, run by one small application that plugins extend.

It is written as a stranger would write it: models of its own in the platform's database file, pages of its own, and
one package, `corner_shop.extension`, in which all contact with Jackfield lies.
"""
