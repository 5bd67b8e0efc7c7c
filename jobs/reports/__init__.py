"""Reports as Markdown, JSON and plots."""
