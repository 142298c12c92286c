"""Publishing: what an earlier version contributes to a new one, and how a tag's index changes without a lost entry."""
