"""The audit trail: who did what to what, as a chain that shows what was done to it afterwards.

`writing.audit` adds an entry to the transaction of a change; `verifying` finds what was changed, removed, inserted or
cut off; `exporting` hands it out so that it can be verified elsewhere; `pruning` drops what is old and leaves a sealed
checkpoint; `anchors` keeps the ends of the chains outside of the database
(`docs/decisions/0024-audit-chain.md`).
"""
