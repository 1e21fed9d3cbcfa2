"""One router a resource, and the schemas of requests and answers.

Here: translation between HTTP and `serving.personalize`. Not here: decisions (`serving.decisions`) and reads
(`serving.features`).
"""
