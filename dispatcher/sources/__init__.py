"""Sources: what brings sightings of objects in."""
