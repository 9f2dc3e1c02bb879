"""Audit what training and the other stages left.

For one adapter: `certify` compares the training data with everything held out, `write_passport`
records what the adapter was made from and seals its folder, `verify` checks seal and losses
again, and the model card says what a reader must know. For a whole workspace: `audit` accounts
for every file by the records of runs.
"""

from elara.audit.card import embedded_card
from elara.audit.certificate import AuditError, certify
from elara.audit.passport import with_verdict, write_passport
from elara.audit.verify import verify
from elara.audit.workspace import audit
