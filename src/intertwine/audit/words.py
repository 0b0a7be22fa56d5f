"""Texts of an audit page for people who are no specialists, and the marks that stand beside verdicts."""

ICONS: dict[str, str] = {
    "check": '<path d="M14 25l7 7 14-16" class="icon-line"/>',
    "check-ring": '<circle cx="24" cy="24" r="15" class="icon-line" stroke-dasharray="3 5" style="stroke-width:2"/>'
    '<path d="M17 25l5 5 9-11" class="icon-line"/>',
    "wave": '<path d="M12 21c4-6 8-6 12 0s8 6 12 0M12 31c4-6 8-6 12 0s8 6 12 0" class="icon-line"/>',
    "question": '<path d="M18 19c0-8 12-8 12 0 0 5-6 5-6 10M24 35v.5" class="icon-line"/>',
    "flat": '<path d="M13 24h22" class="icon-line"/>',
    "dice": '<rect x="14" y="14" width="20" height="20" rx="4" class="icon-line" style="stroke-width:2.5"/>'
    '<path d="M19.5 19.5h.01M28.5 28.5h.01M24 24h.01" class="icon-line"/>',
    "cross": '<path d="M16 16l16 16M32 16L16 32" class="icon-line"/>',
    "orbit": '<circle cx="24" cy="24" r="11" class="icon-line" style="stroke-width:2.5"/>'
    '<path d="M24 13h.01" class="icon-line" style="stroke-width:8"/>',
}

KEYS: dict[str, str] = {
    "Tab": "from plot to plot",
    "← → ↑ ↓": "along the orbit or the samples; on tiles and maps also across",
    "Home, End": "first and last",
    "Page Up, Page Down": "ten percent on or back",
    "Enter": "from the map of samples to the orbit of the chosen one",
    "Escape": "back to the map of samples",
    "?": "this list",
}

GLOSSARY: dict[str, str] = {
    "symmetry, group, element": "A symmetry is a set of changes that should not matter, such as all rotations. The set "
    "is called a group; one change is an element.",
    "equivariant, invariant": "A model is equivariant when moving its input moves its output in the same way: turn the "
    "molecule, and the forces turn with it. Invariant: the output does not change at all, like an energy.",
    "orbit": "Everything an input becomes when all elements of the group are applied to it.",
    "error of a pair": "Move the input and predict; predict and move the output. The two should agree. The error is "
    "the root mean square of their difference over the numbers of the output.",
    "variation": "The error, divided by how much the outputs of two unrelated inputs differ. 0 means perfectly "
    "symmetric; 1 means that moving an input changes the output as much as taking another input.",
    "confidence interval": "The range in which the number would fall in 95 of 100 repetitions with other inputs.",
    "noise floor": "The error that a perfect model would show here: computers round numbers, and turning an image "
    "mixes its pixels.",
    "RMS": "Root mean square: square, average, take the root.",
    "NERO plot": "Non-equivariance revealed on orbits: the quality of a model drawn along the orbit, to see where a "
    "symmetry breaks. Flat is symmetric.",
    "Lie derivative": "How fast the error grows when an input is moved a little in one direction, such as a turn in "
    "one plane.",
    "consensus": "When there are no labels: what a model says along the whole orbit, brought back and averaged.",
}

NERO_METHODS = (
    "Orbit plots: for each sample x, the metric m(f(g·x), g·y) for every element g of the grid, y the target (a label, "
    "the model's own output, or the consensus of its outputs pulled back along the orbit). Averages are over samples; "
    "the dark band is a percentile bootstrap over samples (1,000 resamples, 95 %). Means over an orbit of rotations of "
    "space weigh each angle by 1 − cos, its share of the uniform distribution. Map of samples: principal components of "
    "the values along the orbit, one fit for all models, largest loading positive. Maps of the sphere: Mollweide, "
    "equal area. Reference: arXiv:2305.19889."
)
