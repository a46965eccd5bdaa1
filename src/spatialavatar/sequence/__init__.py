"""TrackedSequence: images, mattes, cameras and motion of one subject, and the readers and writers of its files."""

from spatialavatar.sequence.folder import folder_problems as folder_problems
from spatialavatar.sequence.folder import is_tracked_folder as is_tracked_folder
from spatialavatar.sequence.folder import read_sequence as read_sequence
from spatialavatar.sequence.folder import write_sequence as write_sequence
from spatialavatar.sequence.media import is_photo as is_photo
from spatialavatar.sequence.media import is_video as is_video
from spatialavatar.sequence.media import media_of as media_of
from spatialavatar.sequence.photo import read_photo as read_photo
from spatialavatar.sequence.sequence import FolderFrames as FolderFrames
from spatialavatar.sequence.sequence import MemoryFrames as MemoryFrames
from spatialavatar.sequence.sequence import TrackedSequence as TrackedSequence
from spatialavatar.sequence.sets import SetSubject as SetSubject
from spatialavatar.sequence.sets import SubjectSet as SubjectSet
from spatialavatar.sequence.sets import read_set as read_set
from spatialavatar.sequence.validate import Validation as Validation
from spatialavatar.sequence.validate import alignment_score as alignment_score
from spatialavatar.sequence.validate import validate_sequence as validate_sequence
from spatialavatar.sequence.video import VideoFrame as VideoFrame
from spatialavatar.sequence.video import VideoInfo as VideoInfo
from spatialavatar.sequence.video import probe_video as probe_video
from spatialavatar.sequence.video import read_video as read_video
from spatialavatar.sequence.video import write_video as write_video
