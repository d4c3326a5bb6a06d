"""Names under which schedulers take a job."""

from __future__ import annotations

import re

LONGEST = 40  # KubeRay's RayJob takes 47 characters and adds none of its own


def job_name(study: str, trainer: str) -> str:
    """Lower-case letters, digits and single hyphens, as Kubernetes wants them; the other schedulers take these too."""
    text = re.sub(r"[^a-z0-9]+", "-", f"{study}-{trainer}".lower()).strip("-")
    return text if len(text) <= LONGEST else text[: LONGEST - len(trainer) - 1].rstrip("-") + "-" + trainer
