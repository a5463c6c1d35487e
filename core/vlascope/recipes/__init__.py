"""Study recipes: questions that come up again and again, written out as arms."""
