"""The parts of a recommendation: what is asked, known, allowed, put in, answered and stored.

They import each other in one direction: `ask`; `knowledge`; `terms`, `fold_ins` and `inputs`; `answer`;
`stored`. Not here: the decision itself (`serving.decisions.ranking`) and who puts the parts together
(`serving.personalize`).
"""
