"""Tests of what is deployed: the template, the build, the runtime, a deployment."""
