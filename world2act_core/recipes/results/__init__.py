"""Every stored result on one page: found in folders, read by the readers of what wrote them, shown with filters."""
