"""References between objects, and what one bundle must not hold twice."""
