"""Keep the server's audit log: who asked which adapter when, and how it ended, provably unchanged.

In short::

    with Journal(path) as journal:
        accepted = Accepted(request=…, key=…, adapter=…, template=…, text_hmac=…)
        await journal.write(accepted)  # before the first byte leaves
        await journal.write(accepted.ended("answered", milliseconds=…))  # before the last one
    verify(path, public_key, checkpoints).lines()
"""

from elara.serve.journal.chain import Journal, JournalFull, append
from elara.serve.journal.checkpoints import ChainBroken, Signer, make_key, signing
from elara.serve.journal.entries import (
    Accepted,
    Ended,
    Event,
    JournalError,
    Outcome,
    Record,
    account,
    keyed_hash,
    make_secret,
    read_secret,
)
from elara.serve.journal.verify import Verification, verify
