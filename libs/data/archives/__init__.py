"""Opening what a stranger sent: zip, tar (plain, gz, xz, bz2) or a folder.

Nothing is trusted: not names, not declared sizes, not entry counts. Every refusal names the member.
"""

from libs.data.archives.files import SourceFile, Sources, scan_folder
from libs.data.archives.limits import ArchiveLimits
from libs.data.archives.unpack import archive_kind, member_names, unpack

__all__ = ["ArchiveLimits", "SourceFile", "Sources", "archive_kind", "member_names", "scan_folder", "unpack"]
