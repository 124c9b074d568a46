"""What Jackfield costs, one file per question, beside its peers in the same run.

A figure alone says more about the machine than about us. So each question measures its peers between our own
rounds, and the ratio is what we hold. The goals stand in each question's docstring.
"""
