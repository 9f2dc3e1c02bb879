"""Keep what stages read and write: one folder for each, sealed by a manifest."""

from elara.workspace.drafts import (
    WorkspaceError,
    cannot_write,
    disk_trouble,
    draft_folder,
    lock,
    replace_folder,
    write_atomically,
    writing_to,
)
from elara.workspace.formats import (
    MANIFEST,
    content_digest,
    file_hashes,
    file_sha256,
    identity_of,
    manifest_text,
    seal_holds,
    sealed,
    withdrawn,
)
from elara.workspace.stages import MAIN_TABLES, STAGES, check_parameters, stage_module
from elara.workspace.workspace import Stage, Workspace, publish
