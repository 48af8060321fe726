"""A reward model in the judge's place: scores of conversations by a sequence classifier."""
