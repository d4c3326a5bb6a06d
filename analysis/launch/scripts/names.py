"""Job names that all schedulers accept."""

from __future__ import annotations

import re

LONGEST = 40  # KubeRay's RayJob accepts 47 characters


def job_name(study: str, trainer: str) -> str:
    """Lower-case letters, digits and single hyphens, as Kubernetes requires; the other schedulers accept them too."""
    text = re.sub(r"[^a-z0-9]+", "-", f"{study}-{trainer}".lower()).strip("-")
    return text if len(text) <= LONGEST else text[: LONGEST - len(trainer) - 1].rstrip("-") + "-" + trainer
