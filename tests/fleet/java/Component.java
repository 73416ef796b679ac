// Copyright: connsec.tls contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.Reader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * A component of the demo fleet that runs on the JVM: the same protocol and the same files as component.py, but
 * keystores, JSSE, and options that are read once. A new configuration takes a restart.
 */
public final class Component {
    private static final String[] PROTOCOLS = {"TLSv1.3", "TLSv1.2"};
    private static final String[] SUITES = {
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    };
    private static final int LATE_MS = 250;
    private static final int CONNECT_MS = 5000;
    private static final int SILENCE_MS = 1000;
    private static final int REMEMBERED = 2048;
    private static final int LINE_LIMIT = 4096;
    private static final int SESSIONS_EVERY_MS = 100;
    private static final long ENDED_KEPT_MS = 30_000;

    private final Properties options;
    private final long run = System.currentTimeMillis();
    private final Map<String, Inbox> inboxes = new ConcurrentHashMap<>();
    private final Map<Long, Map<String, Object>> sessions = new TreeMap<>();
    private final Map<String, String> written = new HashMap<>();
    private final Object logged = new Object();
    private final List<ServerSocket> doors = new ArrayList<>();
    private final List<Line> lines = new ArrayList<>();
    private final Set<Socket> open = ConcurrentHashMap.newKeySet();
    private long lastSession;
    private boolean sessionsDue = true;
    private volatile boolean ending;

    private Component(Properties options) {
        this.options = options;
    }

    public static void main(String[] arguments) throws Exception {
        boolean check = arguments.length == 2 && arguments[0].equals("--check");
        if (!check && arguments.length != 1) {
            System.err.println("give [--check] and a properties file");
            System.exit(2);
        }
        Component component = null;
        try {
            Properties options = new Properties();
            try (Reader reader = Files.newBufferedReader(Path.of(arguments[arguments.length - 1]))) {
                options.load(reader);
            }
            component = new Component(options);
            component.check();
        } catch (IOException | GeneralSecurityException | IllegalArgumentException error) {
            System.err.println(arguments[arguments.length - 1] + ": " + error.getMessage());
            System.exit(1);
        }
        if (!check) {
            component.start();
        }
    }

    /** Reads every option and file that will be used. */
    private void check() throws IOException, GeneralSecurityException {
        for (String name : List.of("name", "host", "address", "log", "traffic", "pid_file", "sessions")) {
            text(name);
        }
        port("port");
        if (port("tls.port") > 0) {
            text("keystore");
            context();
        }
        if (port("port") < 0 && port("tls.port") < 0 && options.keySet().stream().anyMatch(key -> key.equals("tls.port"))) {
            throw new IllegalArgumentException("neither port nor tls.port is given");
        }
        clientAuthentication();
        for (String peer : peers()) {
            if (new Line(peer).tls && new Line(peer).verify) {
                text("truststore");
                context();
            }
        }
    }

    // ---------------------------------------------------------------- options

    private String text(String name) {
        String value = options.getProperty(name, "").trim();
        if (value.isEmpty()) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return value;
    }

    private int port(String name) {
        String value = options.getProperty(name, "").trim();
        if (value.isEmpty()) {
            return -1;
        }
        if (!value.matches("[0-9]{1,5}") || Integer.parseInt(value) > 65535) {
            throw new IllegalArgumentException(name + " is '" + value + "'; it is a number from 1 to 65535");
        }
        return Integer.parseInt(value);
    }

    private boolean flag(String name, boolean otherwise) {
        String value = options.getProperty(name, otherwise ? "yes" : "no").trim();
        if (!value.equals("yes") && !value.equals("no")) {
            throw new IllegalArgumentException(name + " is '" + value + "'; it is yes or no");
        }
        return value.equals("yes");
    }

    private String clientAuthentication() {
        String value = options.getProperty("client.auth", "none").trim();
        if (!List.of("none", "want", "need").contains(value)) {
            throw new IllegalArgumentException("client.auth is '" + value + "'; it is none, want or need");
        }
        return value;
    }

    private Collection<String> peers() {
        Set<String> found = new TreeSet<>();
        for (String name : options.stringPropertyNames()) {
            String[] parts = name.split("\\.");
            if (parts.length == 4 && parts[0].equals("peer")) {
                found.add(parts[0] + "." + parts[1] + "." + parts[2]);
            }
        }
        return found;
    }

    private SSLContext context() throws IOException, GeneralSecurityException {
        char[] password = null;
        String file = options.getProperty("keystore.password.file", "").trim();
        if (!file.isEmpty()) {
            password = Files.readString(Path.of(file)).trim().toCharArray();
        }
        KeyManagerFactory keys = null;
        if (!options.getProperty("keystore", "").isBlank()) {
            keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            keys.init(store(text("keystore"), password), password);
        }
        TrustManagerFactory trust = null;
        String given = options.getProperty("foreign.truststore", options.getProperty("truststore", ""));
        if (!given.isBlank()) {
            trust = TrustManagerFactory.getInstance("PKIX");
            trust.init(store(given.trim(), password));
        }
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys == null ? null : keys.getKeyManagers(), trust == null ? null : trust.getTrustManagers(), null);
        return context;
    }

    private static KeyStore store(String path, char[] password) throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream file = new FileInputStream(path)) {
            store.load(file, password);
        }
        return store;
    }

    private static SSLParameters profile(SSLParameters parameters) {
        parameters.setProtocols(PROTOCOLS);
        parameters.setCipherSuites(SUITES);
        parameters.setUseCipherSuitesOrder(false);
        return parameters;
    }

    // ---------------------------------------------------------------- running

    private void start() throws Exception {
        if (port("port") > 0) {
            listen(port("port"), null);
        }
        if (port("tls.port") > 0) {
            listen(port("tls.port"), context());
        }
        for (String peer : peers()) {
            Line line = new Line(peer);
            line.context = line.tls ? context() : null;
            lines.add(line);
        }
        Runtime.getRuntime().addShutdownHook(new Thread(this::end));
        replace(Path.of(text("pid_file")), ProcessHandle.current().pid() + "\n");
        log("started " + ProcessHandle.current().pid());
        lines.forEach(line -> background(line::work, "line"));
        for (int round = 0; true; round++) {
            if (round % 10 == 0) {
                writeRecords();
            } else {
                writeSessions();
            }
            Thread.sleep(SESSIONS_EVERY_MS);
        }
    }

    /** Runs at SIGTERM: first no more messages, then no more listeners. */
    private void end() {
        ending = true;
        long limit = System.currentTimeMillis() + 1000;
        while (System.currentTimeMillis() < limit && lines.stream().anyMatch(line -> line.waiting() > 0)) {
            pause(10);
        }
        writeRecords();
        doors.forEach(Component::close);
        open.forEach(Component::close);
        writeRecords();
        log("ended " + ProcessHandle.current().pid());
        try {
            Files.deleteIfExists(Path.of(text("pid_file")));
        } catch (IOException error) {
            log("error " + error);
        }
    }

    private static void background(Runnable work, String name) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
    }

    private static void pause(long milliseconds) {
        try {
            Thread.sleep(Math.max(milliseconds, 0));
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private static void close(AutoCloseable each) {
        try {
            each.close();
        } catch (Exception error) {
            // it is going away anyway
        }
    }

    // ---------------------------------------------------------------- serving

    private void listen(int port, SSLContext context) throws IOException {
        ServerSocket door = context == null ? new ServerSocket() : context.getServerSocketFactory().createServerSocket();
        door.setReuseAddress(true);
        door.bind(new InetSocketAddress(text("address"), port), 128);
        if (door instanceof SSLServerSocket) {
            SSLParameters parameters = profile(((SSLServerSocket) door).getSSLParameters());
            parameters.setWantClientAuth(clientAuthentication().equals("want"));
            if (clientAuthentication().equals("need")) {
                parameters.setNeedClientAuth(true);
            }
            ((SSLServerSocket) door).setSSLParameters(parameters);
        }
        doors.add(door);
        background(() -> accept(door), "door");
        log("listening " + text("address") + ":" + port);
    }

    private void accept(ServerSocket door) {
        while (!door.isClosed()) {
            try {
                Socket socket = door.accept();
                background(() -> serve(socket), "session");
            } catch (IOException error) {
                if (!door.isClosed()) {
                    log("error nobody can be accepted: " + error.getMessage());
                    pause(100);
                }
            }
        }
    }

    private void serve(Socket socket) {
        open.add(socket);
        String peer = socket.getInetAddress().getHostAddress() + ":" + socket.getPort();
        String[] client = {null};
        long[] key = {0};
        try (socket) {
            boolean verified = false;
            if (socket instanceof SSLSocket) {
                socket.setSoTimeout(CONNECT_MS);
                ((SSLSocket) socket).startHandshake();
                verified = presents((SSLSocket) socket);
                socket.setSoTimeout(0);
            }
            socket.setTcpNoDelay(true);
            talk(socket, peer, verified, client, key);
        } catch (IOException error) {
            if (client[0] == null) {
                log("refused " + peer + " " + error.getMessage());
            } else if (error instanceof SocketException && !ending) {
                inbox(client[0]).resets++;
            }
        } finally {
            open.remove(socket);
            endSession(key[0]);
        }
    }

    private void talk(Socket socket, String peer, boolean verified, String[] client, long[] key) throws IOException {
        boolean tls = socket instanceof SSLSocket;
        BufferedReader reader = new BufferedReader(
            new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8), LINE_LIMIT);
        OutputStream output = socket.getOutputStream();
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
            String[] words = line.split(" ");
            boolean dated = words.length == 4 && words[2].matches("[0-9]{1,18}");
            if (!(dated || words.length == 3) || !words[1].matches("[0-9]{1,18}")) {
                output.write("error a message is: client number [made-at-ms] canary\n".getBytes(StandardCharsets.UTF_8));
                log("refused " + peer + " it sent something that is no message");
                return;
            }
            if (!words[0].equals(client[0])) {
                client[0] = words[0];
                key[0] = beginSession(peer, tls, verified, words[0]);
            }
            long number = Long.parseLong(words[1]);
            if (number > 0) {
                inbox(words[0]).take(number, dated ? Long.parseLong(words[2]) : System.currentTimeMillis(), tls, verified);
            }
            output.write(("ok " + number + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }

    private static boolean presents(SSLSocket socket) {
        try {
            return socket.getSession().getPeerCertificates().length > 0;
        } catch (SSLException error) {
            return false;
        }
    }

    private Inbox inbox(String client) {
        return inboxes.computeIfAbsent(client, Inbox::new);
    }

    private long beginSession(String peer, boolean tls, boolean verified, String client) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("peer", peer);
        row.put("tls", tls);
        row.put("verified", verified);
        row.put("client", client);
        row.put("ended", null);
        long key;
        synchronized (sessions) {
            key = ++lastSession;
            sessions.put(key, row);
            sessionsDue = true;
        }
        log("session " + peer + " " + client + " " + (verified ? "mutual" : tls ? "tls" : "clear"));
        return key;
    }

    private void endSession(long key) {
        synchronized (sessions) {
            Map<String, Object> row = sessions.get(key);
            if (row == null) {
                return;
            }
            row.put("ended", System.currentTimeMillis() / 1000.0);
            sessionsDue = true;
        }
    }

    /** What one client has sent in this run. */
    private final class Inbox {
        private final String client;
        private final Set<Long> numbers = java.util.Collections.newSetFromMap(new LinkedHashMap<>() {
            private static final long serialVersionUID = 1L;

            @Override
            protected boolean removeEldestEntry(Map.Entry<Long, Boolean> eldest) {
                return size() > REMEMBERED;
            }
        });
        private long received;
        private long repeated;
        private long late;
        private long last;
        private long gap;
        private volatile int resets;
        private boolean tls;
        private boolean verified;

        private Inbox(String client) {
            this.client = client;
        }

        private void take(long number, long made, boolean tls, boolean verified) {
            long now = System.currentTimeMillis();
            boolean again = count(number, now, now - made, tls, verified);
            String security = verified ? "mutual" : tls ? "tls" : "clear";
            log(String.format("message %s %d %s %d.0 %s",
                client, number, again ? "again" : "first", Math.max(now - made, 0), security));
        }

        /** Counts a message and returns whether it had come before. */
        private synchronized boolean count(long number, long now, long delay, boolean tls, boolean verified) {
            this.tls = tls;
            this.verified = verified;
            if (!numbers.add(number)) {
                repeated++;
                return true;
            }
            received++;
            late += delay > LATE_MS ? 1 : 0;
            gap = last == 0 ? 0 : Math.max(gap, now - last);
            last = now;
            return false;
        }

        private synchronized Map<String, Object> row() {
            Map<String, Object> row = new TreeMap<>();
            row.put("run", run);
            row.put("role", "server");
            row.put("id", client);
            row.put("received", received);
            row.put("repeated", repeated);
            row.put("late", late);
            row.put("resets", resets);
            row.put("longest_gap_ms", gap);
            row.put("tls", tls);
            row.put("verified", verified);
            return row;
        }
    }

    // ---------------------------------------------------------------- dialling

    /** The stream of messages to one peer. */
    private final class Line {
        private final String prefix;
        private final String id;
        private final String address;
        private final int port;
        private final boolean tls;
        private final boolean verify;
        private final String dialled;
        private final boolean perMessage;
        private final String canary;
        private final double patience;
        private final Map<Long, Long> waiting = new TreeMap<>();
        private final Set<Long> tried = new TreeSet<>();
        private SSLContext context;
        private Socket socket;
        private boolean began;
        private String said = "";
        private long number = run;
        private long sent;
        private long answered;
        private long lost;
        private long repeated;
        private long last;
        private long gap;

        private Line(String prefix) {
            this.prefix = prefix;
            id = text(prefix + ".id");
            address = text(prefix + ".address");
            port = port(prefix + ".port");
            tls = flag(prefix + ".tls", false);
            verify = flag(prefix + ".verify", true);
            dialled = options.getProperty(prefix + ".name", address).trim();
            perMessage = options.getProperty(prefix + ".mode", "persistent").equals("message");
            canary = text(prefix + ".canary");
            patience = Double.parseDouble(options.getProperty(prefix + ".patience", "5"));
            if (port < 0) {
                throw new IllegalArgumentException(prefix + ".port is missing");
            }
        }

        private synchronized int waiting() {
            return waiting.size();
        }

        /** Makes messages and sends them; another thread takes the answers. */
        private void work() {
            long due = System.currentTimeMillis();
            while (!ending) {
                if (connected()) {
                    began = true;
                }
                if (began) {
                    make();
                }
                due = Math.max(due + (perMessage ? 200 : 50), System.currentTimeMillis() - 1000);
                pause(due - System.currentTimeMillis());
            }
        }

        private void make() {
            synchronized (this) {
                sent++;
                waiting.put(++number, System.currentTimeMillis());
                long oldest = System.currentTimeMillis() - (long) (patience * 1000);
                int before = waiting.size();
                waiting.values().removeIf(made -> made < oldest);
                lost += before - waiting.size();
                if (!waiting.isEmpty() && socket != null && last > 0
                    && System.currentTimeMillis() - waiting.values().iterator().next() > SILENCE_MS) {
                    close(socket);
                }
            }
            send(number);
        }

        private synchronized void send(long which) {
            Long made = waiting.get(which);
            if (made == null || socket == null) {
                return;
            }
            repeated += tried.add(which) ? 0 : 1;
            try {
                write(socket, which, made);
            } catch (IOException error) {
                close(socket);
            }
        }

        private void write(Socket to, long which, long made) throws IOException {
            to.getOutputStream().write(
                (id + " " + which + " " + made + " " + canary + "\n").getBytes(StandardCharsets.UTF_8));
        }

        /** Returns whether there is a session, after trying to get one. */
        private boolean connected() {
            synchronized (this) {
                if (socket != null) {
                    return true;
                }
            }
            Socket fresh = null;
            try {
                fresh = dial();
                BufferedReader reader = new BufferedReader(
                    new InputStreamReader(fresh.getInputStream(), StandardCharsets.UTF_8), LINE_LIMIT);
                write(fresh, 0, System.currentTimeMillis());
                if (!"ok 0".equals(reader.readLine())) {
                    throw new IOException("it does not answer the greeting");
                }
                fresh.setSoTimeout(0);
                use(fresh, reader);
                return true;
            } catch (IOException error) {
                if (fresh != null) {
                    close(fresh);
                }
                if (!String.valueOf(error.getMessage()).equals(said)) {
                    said = String.valueOf(error.getMessage());
                    log("failing " + id + " " + said);
                }
                return false;
            }
        }

        private Socket dial() throws IOException {
            Socket plain = new Socket();
            plain.bind(new InetSocketAddress(InetAddress.getByName(text("address")), 0));
            plain.connect(new InetSocketAddress(address, port), CONNECT_MS);
            plain.setSoTimeout(CONNECT_MS);
            plain.setTcpNoDelay(true);
            if (!tls) {
                return plain;
            }
            SSLSocket secure = (SSLSocket) context.getSocketFactory().createSocket(plain, dialled, port, true);
            SSLParameters parameters = profile(secure.getSSLParameters());
            if (verify) {
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
            }
            secure.setSSLParameters(parameters);
            try {
                secure.startHandshake();
            } catch (IOException error) {
                close(plain);
                throw error;
            }
            return secure;
        }

        private void use(Socket fresh, BufferedReader reader) {
            synchronized (this) {
                socket = fresh;
                said = "";
                List<Long> left = new ArrayList<>(waiting.keySet());
                left.forEach(this::send);
            }
            open.add(fresh);
            log("session " + id + " " + address + ":" + port + " " + (tls ? "TLS" : "clear"));
            background(() -> hear(fresh, reader), "answers");
        }

        private void hear(Socket from, BufferedReader reader) {
            try {
                for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                    if (!line.matches("ok [0-9]{1,18}")) {
                        break;
                    }
                    answered(Long.parseLong(line.substring(3)));
                }
            } catch (IOException error) {
                log("ended " + id + " " + error.getMessage());
            }
            close(from);
            open.remove(from);
            synchronized (this) {
                socket = null;
            }
        }

        private synchronized void answered(long which) {
            tried.remove(which);
            if (waiting.remove(which) == null) {
                return;
            }
            long now = System.currentTimeMillis();
            gap = last == 0 ? 0 : Math.max(gap, now - last);
            last = now;
            answered++;
        }

        private synchronized Map<String, Object> row() {
            Map<String, Object> row = new TreeMap<>();
            row.put("run", run);
            row.put("role", "client");
            row.put("id", id);
            row.put("canary", canary);
            row.put("sent", sent);
            row.put("answered", answered);
            row.put("lost", lost);
            row.put("repeated", repeated);
            row.put("open", waiting.size());
            row.put("interval_ms", perMessage ? 200 : 50);
            row.put("longest_gap_ms", waiting.isEmpty() || last == 0 ? gap : Math.max(gap, System.currentTimeMillis() - last));
            row.put("tls", tls);
            return row;
        }
    }

    // ---------------------------------------------------------------- records

    private void log(String line) {
        try {
            Path path = Path.of(text("log"));
            String whole = String.format("%.3f %s%n", System.currentTimeMillis() / 1000.0, line);
            synchronized (logged) {
                Files.writeString(path, whole, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
                if (Files.size(path) > 32 << 20) {
                    Files.move(path, Path.of(path + ".1"), StandardCopyOption.REPLACE_EXISTING);
                }
            }
        } catch (IOException error) {
            System.err.println(error);
        }
    }

    private void writeRecords() {
        List<Map<String, Object>> rows = new ArrayList<>();
        inboxes.values().forEach(each -> rows.add(each.row()));
        lines.forEach(each -> rows.add(each.row()));
        synchronized (written) {
            writeTallies(rows);
        }
        writeSessions();
    }

    private void writeTallies(List<Map<String, Object>> rows) {
        StringBuilder text = new StringBuilder();
        for (Map<String, Object> row : rows) {
            String line = json(row);
            if (!line.equals(written.put(row.get("role") + " " + row.get("id"), line))) {
                text.append(line).append('\n');
            }
        }
        try {
            Path path = Path.of(text("traffic"));
            Files.writeString(path, text, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            if (Files.size(path) > 2 << 20) {
                shorten(path);
            }
        } catch (IOException error) {
            System.err.println(error);
        }
    }

    /** Keeps the last line of each row; a row is known by run, role and id, which no other field changes. */
    private static void shorten(Path path) throws IOException {
        Map<String, String> last = new LinkedHashMap<>();
        for (String line : Files.readAllLines(path)) {
            String[] known = Arrays.stream(line.split(", "))
                .filter(part -> part.matches("\\{?\"(run|role|id)\": .*")).toArray(String[]::new);
            last.put(String.join(" ", known), line);
        }
        replace(path, String.join("\n", last.values()) + "\n");
    }

    private void writeSessions() {
        StringBuilder text = new StringBuilder();
        synchronized (sessions) {
            double oldest = (System.currentTimeMillis() - ENDED_KEPT_MS) / 1000.0;
            sessionsDue |= sessions.values().removeIf(row -> row.get("ended") != null && (double) row.get("ended") < oldest);
            if (!sessionsDue) {
                return;
            }
            sessionsDue = false;
            sessions.values().forEach(row -> text.append(json(row)).append('\n'));
            try {
                replace(Path.of(text("sessions")), text.toString());
            } catch (IOException error) {
                System.err.println(error);
            }
        }
    }

    private static void replace(Path path, String text) throws IOException {
        Path beside = Path.of(path + ".new");
        Files.writeString(beside, text);
        Files.move(beside, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static String json(Map<String, Object> row) {
        List<String> fields = new ArrayList<>();
        row.forEach((name, value) -> fields.add(
            "\"" + name + "\": " + (value instanceof String ? "\"" + escape((String) value) + "\"" : value)));
        return "{" + String.join(", ", fields) + "}";
    }

    private static String escape(String value) {
        StringBuilder text = new StringBuilder();
        for (char each : value.toCharArray()) {
            if (each < ' ' || each == '"' || each == '\\') {
                text.append(String.format("\\u%04x", (int) each));
            } else {
                text.append(each);
            }
        }
        return text.toString();
    }
}
