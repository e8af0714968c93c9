"""What several tests share: contacts, builders, sandboxes, interruptions, the artifact."""
