"""Instructions split by language models: behind any OpenAI-compatible endpoint, or on this machine.

``prompt`` says what a model is asked, ``schema`` what it may answer, ``answer`` what is believed of it; ``cache`` keeps
every answer, ``decomposer`` ties these together for ``endpoint`` and ``local``.
"""
