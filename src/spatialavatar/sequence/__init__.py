"""Images, mattes, cameras and motion of one subject, in memory and on disk."""
