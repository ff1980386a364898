# The images of VectorCache: targets operator, node, router and client. scripts/images.sh builds them.
#
#   docker build --target node -t vectorcache/node .
#
# Every image is the base, then what several of them need, then what it alone needs, then VectorCache itself: a change of
# the code builds only the last of these again, and a cluster's nodes keep the others once for all images.
# The same sources give the same files: versions come from constraints.txt, and bytecode is checked by hash, not by time.

ARG BASE=docker.io/library/python:3.11-slim


# What each image has to install, as lists, so that another change in pyproject.toml installs nothing again.
FROM ${BASE} AS requirements
WORKDIR /requirements
COPY pyproject.toml /source/
COPY scripts/requirements.py /source/scripts/
RUN for extra in service node router operator cli; do \
        python /source/scripts/requirements.py $extra > $extra.txt || exit 1; \
    done \
    && grep ^kubernetes router.txt > kubernetes.txt \
    && grep -v ^kubernetes cli.txt > client.txt


# The wheel, with the scan compiled.
FROM ${BASE} AS wheel
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /
RUN pip install --no-cache-dir -c /constraints.txt 'hatchling>=1.26'
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY core core
COPY service service
COPY client client
COPY tools tools
COPY llm llm
COPY node node
COPY router router
COPY operator operator
# The first second that a zip file can hold.
ENV SOURCE_DATE_EPOCH=315532800
# Without the compiled scan searches are slower: an image never goes without, as an installation elsewhere may.
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels . \
    && python -m zipfile -l /wheels/*.whl | grep -q native/_scan.so \
    && python -m venv --without-pip /opt/vectorcache \
    && pip --python /opt/vectorcache/bin/python install --no-deps --prefix /installed /wheels/*.whl


# What all images share. Tests and headers of libraries are left out, and what pyarrow loads only when asked to: Flight, S3.
FROM ${BASE} AS common
# USER is for libraries that ask who runs them: the uid has no entry in /etc/passwd, and a cluster may choose another one.
# Few threads allocate: more arenas than two would hold memory that nobody uses.
ENV PATH=/opt/vectorcache/bin:$PATH \
    HOME=/tmp \
    USER=vectorcache \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/vectorcache
RUN python -m venv --without-pip .
COPY constraints.txt ./
COPY --from=requirements /requirements/service.txt requirements/
# With SOURCE_DATE_EPOCH, pip compiles to bytecode that is checked by the source's hash.
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/service.txt \
    && cd lib/python3*/site-packages \
    && find numpy pyarrow -type d -name tests -prune -exec rm -r {} + \
    && rm -r pyarrow/include pyarrow/src \
    && rm -f pyarrow/*_flight.* pyarrow/*_s3.* pyarrow/*_s3fs.*


FROM common AS azure
COPY --from=requirements /requirements/node.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/node.txt

FROM common AS kubernetes
COPY --from=requirements /requirements/kubernetes.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/kubernetes.txt

FROM kubernetes AS operator-dependencies
COPY --from=requirements /requirements/operator.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/operator.txt

FROM kubernetes AS router-dependencies
COPY --from=requirements /requirements/router.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/router.txt

FROM azure AS client-dependencies
COPY --from=requirements /requirements/client.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/client.txt


FROM azure AS node
COPY --from=wheel /installed ./
RUN bin/python -c 'import vectorcache_node.node'
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "vectorcache_node"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache node" \
      org.opencontainers.image.description="Holds the hot part of vector collections in memory and on disk, and scans it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM router-dependencies AS router
COPY --from=wheel /installed ./
RUN bin/python -c 'import vectorcache_router.cluster'
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "vectorcache_router"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache router" \
      org.opencontainers.image.description="Sends each search to the nodes that hold what it needs, and merges" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM operator-dependencies AS operator
COPY --from=wheel /installed ./
RUN bin/python -c 'import vectorcache_operator, kopf, kubernetes'
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "vectorcache_operator"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache operator" \
      org.opencontainers.image.description="Keeps in a Kubernetes cluster what VectorCache resources ask for" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# The command vectorcache: builds collections, searches. Last, so that it is what a build without --target makes.
FROM client-dependencies AS client
COPY --from=wheel /installed ./
RUN bin/vectorcache --help > /dev/null
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["vectorcache"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache client" \
      org.opencontainers.image.description="The command vectorcache: builds collections of vectors and searches them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
