"""A fake router, served on the test's own loop or from a thread."""

from tests.support.client.fake_router import router, thread_url, url

__all__ = ["router", "thread_url", "url"]
