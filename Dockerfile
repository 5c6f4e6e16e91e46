# The service of docs/serve.md, on CPUs:
#   docker build -t sagan . && docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 sagan
FROM python:3.11-slim

WORKDIR /opt/sagan

# PyTorch first: its layer is large and changes seldom. The default wheel brings gigabytes of CUDA.
COPY constraints.txt ./
RUN python -m pip install --no-cache-dir --constraint constraints.txt pip \
    && python -m pip install --no-cache-dir --constraint constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu \
        "$(grep '^torch==' constraints.txt)+cpu"

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN python -m pip install --no-cache-dir --constraint constraints.txt \
        --build-constraint constraints.txt ".[studio]" \
    && useradd --system --uid 10001 --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin sagan

# Whatever is written goes to /tmp, so that the rest can be read-only.
ENV HOME=/tmp \
    SAGAN_MODEL=avatars64 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["sagan", "serve", "--host", "0.0.0.0", "--port", "8000"]
